"""Load a model and prove that it is the one the index was built with, before anything is written."""

from __future__ import annotations

from pathlib import Path

from embedspec.models.canaries import PassedChecks, check_canary, from_base64, make_canary, to_base64
from embedspec.models.canary_texts import CANARY_VERSION
from embedspec.models.encoder import Encoder, load_encoder
from embedspec.reconciler.home import Home
from embedspec.reconciler.session import ModelInUse, with_weights
from embedspec.stores.records import Canary, IndexRecord
from embedspec.types import digest

QUICK_SAMPLE = 8
"""How many of the 64 texts a one-shot query checks the first time."""


def load_checked_encoder(
    model: ModelInUse,
    record: IndexRecord | None,
    base: Path,
    home: Home,
    *,
    engine: str = "auto",
    quick: bool = False,
) -> tuple[Encoder, Canary]:
    """The encoder, and the canary vectors of its identity: those in the registry, which it was
    checked against (ModelError, exit 8, if it disagrees), or new ones if there are none yet.

    `quick`: a few of the texts are enough, for a query that starts a process of its own.
    """
    model = with_weights(model, base, home)
    encoder = load_encoder(model.resolved, engine=engine, weights=model.weights)
    stored = find_canary(record, model.fingerprint)
    passed = PassedChecks(home.cache)
    if stored is None:
        made = make_canary(encoder, model.document_prompt, model.fingerprint)
        stored = Canary(
            encoder=model.fingerprint,
            version=made.version,
            dimension=made.dimension,
            vectors=to_base64(made.vectors),
        )
        passed.add(encoder, _mark(stored))
        return encoder, stored
    mark = _mark(stored)
    if passed.has(encoder, mark) or (quick and passed.has(encoder, f"{mark} quick")):
        return encoder, stored
    sample = QUICK_SAMPLE if quick else None
    check_canary(encoder, model.document_prompt, from_base64(stored.vectors, stored.dimension), sample)
    passed.add(encoder, f"{mark} quick" if quick else mark)
    return encoder, stored


def _mark(canary: Canary) -> str:
    return f"{canary.encoder}:{digest(canary.vectors.encode()).hex()}"


def find_canary(record: IndexRecord | None, fingerprint: str) -> Canary | None:
    if record is None:
        return None
    known = (
        b.canary
        for b in record.builds
        # Of another version are other texts: as good as none.
        if b.canary and b.canary.encoder == fingerprint and b.canary.version == CANARY_VERSION
    )
    return next(known, None)
