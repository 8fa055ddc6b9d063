"""The loaded encoder: order, neighbours, streaming, memory, start-up."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from embedspec.errors import CapabilityError
from embedspec.models.encoder import Encoder, load_encoder
from embedspec.models.resolve import ResolvedModel
from embedspec.models.tokenization import Ids, TextTokenizer

from .conftest import resolve

MIXED = [("word " * (1 + 37 * i % 90) + f"number {i}").strip() if i % 3 else f"short {i}" for i in range(60)]


def test_order_is_kept_and_nothing_gives_nothing(tiny_encoder: Encoder) -> None:
    vectors = tiny_encoder.encode(MIXED)
    assert vectors.shape == (60, 32)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(tiny_encoder.encode(MIXED[::-1])[::-1], vectors, atol=1e-5)
    assert tiny_encoder.encode([]).shape == (0, 32)


def test_a_prompt_is_text_before_the_text(tiny_encoder: Encoder) -> None:
    with_prompt = tiny_encoder.encode(["the sea"], "query : ")
    np.testing.assert_array_equal(with_prompt, tiny_encoder.encode(["query : the sea"]))
    assert np.abs(with_prompt - tiny_encoder.encode(["the sea"])).max() > 1e-3


def test_a_vector_does_not_depend_on_its_neighbours(minilm_float32: Encoder, minilm_auto: Encoder) -> None:
    """The bounds that `Encoder` states: cosine 1 - 1e-6 in float32, 0.9999 in bfloat16."""
    for encoder in (minilm_float32, minilm_auto):
        alone = np.concatenate([encoder.encode([text]) for text in MIXED])
        cosines = np.einsum("ij,ij->i", encoder.encode(MIXED), alone, dtype=np.float64)
        assert cosines.min() >= (1 - 1e-6 if encoder.numeric == "f32" else 0.9999)


def test_pinned_float32_is_float32(minilm_float32: Encoder) -> None:
    assert minilm_float32.numeric == "f32"
    assert minilm_float32.engine_version.startswith("openvino 20")
    assert "cores" in minilm_float32.device


def test_streaming_keeps_order_and_tags_and_is_bounded(tiny_encoder: Encoder) -> None:
    """At most four batches are ahead of what the caller has got."""
    tokenizer = TextTokenizer(tiny_encoder.resolved, "")
    taken = 0

    def batches() -> Iterator[tuple[str, Sequence[Ids]]]:
        nonlocal taken
        for i in range(0, 60, 5):
            taken += 1
            yield f"batch {i}", tokenizer.encode(MIXED[i : i + 5]).ids
        yield "empty", []

    expected = tiny_encoder.encode(MIXED)
    tags = []
    for given_out, (tag, vectors) in enumerate(tiny_encoder.embed(batches())):
        assert taken - given_out <= 4
        tags.append(tag)
        at = 5 * given_out
        np.testing.assert_allclose(vectors, expected[at : at + 5] if tag != "empty" else vectors, atol=1e-5)
        assert vectors.shape == ((0, 32) if tag == "empty" else (5, 32))
    assert tags == [*(f"batch {i}" for i in range(0, 60, 5)), "empty"]


def test_an_encoder_can_be_used_again_after_the_caller_stopped(tiny_encoder: Encoder) -> None:
    tokenizer = TextTokenizer(tiny_encoder.resolved, "")
    expected = tiny_encoder.encode(MIXED[:4])

    def failing() -> Iterator[tuple[int, Sequence[Ids]]]:
        yield 0, tokenizer.encode(MIXED).ids
        yield 1, tokenizer.encode(MIXED).ids
        raise KeyError("reader failed")

    with pytest.raises(KeyError, match="reader failed"):
        list(tiny_encoder.embed(failing()))
    short, long = (tokenizer.encode([text] * 30).ids for text in ("a word", "many words " * 20))
    for turn in range(200):
        stream = tiny_encoder.embed((i, short if turn % 2 else long) for i in range(10))
        assert next(stream)[0] == 0
        time.sleep(turn * 1e-5)  # so that it ends anywhere in a batch
        stream.close()  # type: ignore[attr-defined]
    np.testing.assert_allclose(tiny_encoder.encode(MIXED[:4]), expected, atol=1e-5)


def test_unknown_engines_and_weights_are_refused(tiny: Path) -> None:
    resolved = resolve(tiny)
    with pytest.raises(CapabilityError, match="known: auto, openvino"):
        load_encoder(resolved, engine="vllm")
    with pytest.raises(CapabilityError, match="known: auto, float32"):
        load_encoder(resolved, weights="int8")


def _python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=200, check=False
    )


def test_no_heavy_library_and_no_telemetry_is_imported(tiny: Path) -> None:
    code = """
import json, sys
from pathlib import Path
from embedspec.models.resolve import resolve_model
resolved = resolve_model("path:" + sys.argv[1], None, base=Path("."))
planned = sorted(m for m in ("openvino", "tokenizers", "huggingface_hub", "safetensors") if m in sys.modules)
from embedspec.models.encoder import load_encoder
load_encoder(resolved).encode(["a"])
heavy = ("torch", "transformers", "sentence_transformers", "openvino_telemetry", "scipy")
print(json.dumps([planned, [m for m in heavy if sys.modules.get(m)]]))
"""
    done = _python(code, str(tiny))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [[], []]


def test_a_batch_that_does_not_fit_is_halved(minilm: ResolvedModel) -> None:
    """In a process whose memory is limited: one batch of 144 rows of 256 tokens does not fit.
    The batches started beside it come out right too."""
    code = """
import json, logging, resource, sys
from pathlib import Path
import numpy as np
from embedspec.models.encoder import load_encoder
from embedspec.models.resolve import resolve_model
encoder = load_encoder(resolve_model(sys.argv[1], None, base=Path(".")), weights="float32")
rows = [np.full(256, 2000 + i, dtype=np.int32) for i in range(144)]
batches = [("small", rows[:3]), ("large", rows), ("next", rows[3:5]), ("last", rows[5:8])]
alone = encoder.embed([(0, rows[:8])])
alone = next(alone)[1]
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (250 << 20), resource.RLIM_INFINITY))
logging.basicConfig(level=logging.WARNING)
found = dict(encoder.embed(batches))
parts = [found["small"], found["next"], found["last"], found["large"][:8]]
expected = [alone[:3], alone[3:5], alone[5:8], alone]
worst = max(float(np.abs(a - b).max()) for a, b in zip(parts, expected))
print(json.dumps([[list(v.shape) for v in found.values()], worst]))
"""
    done = _python(code, minilm.use)
    assert done.returncode == 0, done.stderr[-2000:]
    shapes, worst = json.loads(done.stdout)
    assert shapes == [[3, 384], [144, 384], [2, 384], [3, 384]]
    assert worst < 1e-5
    assert "out of memory for a batch of 144 texts" in done.stderr
