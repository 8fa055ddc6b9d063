"""What a plan costs: tokens of the texts to embed, and the model's speed where it is to be measured."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np

from embedspec.models.tokenization import TextTokenizer
from embedspec.reconciler.planner import CorpusFacts, Coverage, Work
from embedspec.reconciler.reading import Reading
from embedspec.reconciler.session import ModelInUse, Session, with_weights
from embedspec.reconciler.speed import remember_speed
from embedspec.reconciler.tokens import Tokens
from embedspec.stores.protocol import Store
from embedspec.types import DeadLetter, HashArray, hash_list

EXACT_TOKEN_TEXTS = 100_000
"""Above so many new texts the tokens are estimated from a sample and marked so."""
SAMPLE_TEXTS = 10_000
PROBE_TEXTS = 256


def _texts(
    store: Store, reading: Reading, corpus: CorpusFacts, work: Work, wanted: HashArray
) -> Iterator[tuple[bytes, str]]:
    """Content hash and text for each wanted hash: from the corpus, or, for rows taken over, from the
    live build. Texts that moved meanwhile come as they are now."""
    written = work.written
    contents = corpus.rows.content[written]
    first, index = np.unique(contents, return_index=True)
    chosen = written[index[np.isin(first, wanted)]]
    for record in reading.records(np.sort(corpus.positions[chosen])):
        if not isinstance(record, DeadLetter):
            yield record.content, record.text
    if len(work.takeover) and work.decision.live is not None:
        from_corpus = corpus.rows.content[chosen]
        left = set(hash_list(np.setdiff1d(wanted, from_corpus)))
        for row in store.rows(work.decision.live, work.takeover):
            if row.content in left:
                left.discard(row.content)
                yield row.content, row.text


def count_tokens(
    store: Store, reading: Reading, corpus: CorpusFacts, work: Work, missing: HashArray, tokens: Tokens
) -> Coverage:
    """How many texts are embedded, and how many tokens that is: exact up to a bound, then from a
    sample. `tokens` may keep what it made for the run that follows."""
    reused = len(work.needed) - len(missing)
    if not len(missing):
        return Coverage(missing, reused, 0, 0, sampled=False)
    sampled = len(missing) > EXACT_TOKEN_TEXTS
    wanted = missing[:: len(missing) // SAMPLE_TEXTS] if sampled else missing
    count, truncated, texts = tokens.count(_texts(store, reading, corpus, work, wanted))
    if sampled and texts:
        scale = len(missing) / texts
        count, truncated = round(count * scale), round(truncated * scale)
    return Coverage(missing, reused, count, truncated, sampled)


def probe_speed(
    session: Session,
    reading: Reading,
    corpus: CorpusFacts,
    work: Work,
    missing: HashArray,
    model: ModelInUse,
) -> None:
    """Load the model and embed a sample of the missing texts, for the price's sake."""
    from embedspec.models.encoder import load_encoder

    step = max(1, len(missing) // PROBE_TEXTS)
    written = work.written
    chosen = written[np.isin(corpus.rows.content[written], missing[::step])]
    records = reading.records(np.sort(corpus.positions[chosen][:PROBE_TEXTS]))
    texts = [r.text for r in records if not isinstance(r, DeadLetter)]
    if not texts:
        return
    ready = with_weights(model, session.loaded.base, session.home)
    encoder = load_encoder(ready.resolved, engine=session.spec.model.engine, weights=model.weights)
    counts, _ = TextTokenizer(model.resolved, model.document_prompt).count(texts)
    encoder.encode(texts[:8], model.document_prompt)
    started = time.perf_counter()
    encoder.encode(texts, model.document_prompt)
    remember_speed(session.home, model, int(counts.sum()), time.perf_counter() - started)
