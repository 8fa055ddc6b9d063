"""Load a model and prove that it is the one the index was built with, before anything is written."""

from __future__ import annotations

from embedspec.models.canaries import PassedChecks, check_canary, from_base64, make_canary, to_base64
from embedspec.models.encoder import Encoder, load_encoder
from embedspec.reconcile.home import Home
from embedspec.reconcile.session import ModelInUse
from embedspec.stores.records import Canary, IndexRecord
from embedspec.types import digest

QUICK_SAMPLE = 8
"""How many of the 64 texts a one-shot query checks the first time."""


def load_checked_encoder(
    model: ModelInUse, record: IndexRecord | None, home: Home, *, quick: bool = False
) -> tuple[Encoder, Canary]:
    """The encoder, and the canary vectors of its identity: those in the registry, which it was
    checked against (ModelError, exit 8, if it disagrees), or new ones if there are none yet."""
    encoder = load_encoder(model.resolved, weights=model.weights)
    stored = find_canary(record, model.fingerprint)
    if stored is None:
        made = make_canary(encoder, model.document_prompt, model.fingerprint)
        return encoder, Canary(
            encoder=model.fingerprint,
            version=made.version,
            dimension=made.dimension,
            vectors=to_base64(made.vectors),
        )
    passed = PassedChecks(home.cache)
    mark = f"{model.fingerprint}:{digest(stored.vectors.encode()).hex()}"
    if not passed.has(encoder, mark):
        sample = QUICK_SAMPLE if quick else None
        check_canary(encoder, model.document_prompt, from_base64(stored.vectors, stored.dimension), sample)
        if not quick:
            passed.add(encoder, mark)
    return encoder, stored


def find_canary(record: IndexRecord | None, fingerprint: str) -> Canary | None:
    if record is None:
        return None
    known = (b.canary for b in record.builds if b.canary and b.canary.encoder == fingerprint)
    return next(known, None)
