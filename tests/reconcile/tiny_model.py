"""A real BERT in miniature: a folder in sentence-transformers layout, weights from a seed.

Small enough that a test can run the whole of reconcile a hundred times, and read by the very code
that reads a published model.
"""

from __future__ import annotations

import json
import string
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from embedspec.models.architecture import read_architecture

DIMENSION = 32


def make_model(folder: Path, *, seed: int = 1, license: str | None = "mit", prompts: bool = False) -> Path:
    """Write the model; another `seed` gives another model. Mean pooling, normalised, window 64."""
    folder.mkdir(parents=True, exist_ok=True)
    pieces = [*string.ascii_lowercase, *string.digits, *string.punctuation]
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *pieces, *(f"##{p}" for p in pieces)]
    ids = {token: i for i, token in enumerate(vocabulary)}
    tokenizer = Tokenizer(models.WordPiece(ids, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "model_type": "bert",
        "architectures": ["BertModel"],
        "hidden_size": DIMENSION,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 64,
        "vocab_size": len(vocabulary),
        "max_position_embeddings": 64,
        "type_vocab_size": 2,
        "hidden_act": "gelu",
    }
    random = np.random.default_rng(seed)
    tensors = {}
    for name, shape in read_architecture(config, "tiny").tensors():
        values = random.normal(0.0, 0.3, shape)
        tensors[name] = (values + 1.0 if name.endswith("LayerNorm.weight") else values).astype(np.float32)
    save_file(tensors, folder / "model.safetensors")
    write = lambda name, data: (folder / name).write_text(json.dumps(data))  # noqa: E731
    write("config.json", config)
    write("tokenizer_config.json", {"do_lower_case": True, "model_max_length": 64})
    write("sentence_bert_config.json", {"max_seq_length": 64, "do_lower_case": False})
    (folder / "1_Pooling").mkdir(exist_ok=True)
    write("1_Pooling/config.json", {"word_embedding_dimension": DIMENSION, "pooling_mode_mean_tokens": True})
    kinds = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")]
    write(
        "modules.json",
        [
            {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
            for i, (path, kind) in enumerate(kinds)
        ],
    )
    if prompts:
        write("config_sentence_transformers.json", {"prompts": {"query": "query: ", "document": "passage: "}})
    if license is not None:
        (folder / "README.md").write_text(f"---\nlicense: {license}\n---\n# tiny\n")
    return folder
