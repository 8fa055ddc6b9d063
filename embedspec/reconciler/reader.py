"""What applications use: search the live build of an index, wherever the pointer points.

Every search takes the pointer first, embeds the query by the model and prompt that it names, and
asks that very build, so that readers never mix two models, whatever a run is doing meanwhile.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from embedspec.corpus.parse import mend
from embedspec.errors import BuildMissing, EmbedspecError, SpecError
from embedspec.models.encoder import Encoder
from embedspec.models.reduce import reduce_vectors
from embedspec.reconciler.canary import load_checked_encoder
from embedspec.reconciler.home import Home
from embedspec.reconciler.retry import retrying
from embedspec.reconciler.session import model_of_build
from embedspec.results import QueryResult, QuerySeconds, SearchHit
from embedspec.stores.filters import parse_filter, parse_terms
from embedspec.stores.protocol import Store
from embedspec.stores.records import BuildRecord, Pointer
from embedspec.types import Candidate, Filter, Matrix, Quantization

SCORE_DIGITS = 6
"""Scores that agree in so many digits are equal, and ordered by id: near-ties differ by about
1.5e-7 from batch to batch."""
SPARE = 16
"""Candidates asked for beyond k, so that equal scores at the cut are ordered by id too."""
POINTER_TRIES = 3

FilterInput = str | Sequence[str] | Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class LiveBuild:
    build: BuildRecord
    pointer: Pointer


class Index:
    """The live build of one index. Not thread-safe; keeps the model loaded between searches."""

    def __init__(self, store: Store, name: str, *, base: Path, home: Home, max_k: int | None = None) -> None:
        self._store = store
        self._name = name
        self._base = base
        self._home = home
        self._max_k = max_k
        self._encoder: Encoder | None = None
        self._encoder_of: str | None = None

    def live(self) -> LiveBuild:
        """One consistent look at the pointer. Raises SpecError if nothing is live."""
        record = retrying(lambda: self._store.observe_live(self._name))
        build = record.live if record else None
        if record is None or build is None or record.state.pointer is None:
            raise SpecError(
                f"nothing is live under the name {self._name!r}",
                fix="run `embedspec reconcile` first",
            )
        return LiveBuild(build, record.state.pointer)

    def search(self, text: str, k: int = 10, filter: FilterInput = None) -> QueryResult:
        """The `k` nearest rows. `filter`: `key=value` terms or the JSON form. NUL and halves of
        surrogate pairs in `text` become U+FFFD, as in a corpus."""
        if k < 1:
            raise EmbedspecError(f"k is {k}; it must be at least 1")
        started = time.perf_counter()
        live, lists, seconds, notices = self._ask([mend(text).replace("\0", "\ufffd")], k, filter)
        hits = [
            SearchHit(id=c.id, chunk=c.chunk, score=c.score, text=c.text, metadata=dict(c.metadata))
            for c in lists[0]
        ]
        seconds.total = round(time.perf_counter() - started, 4)
        return QueryResult(hits=hits, build=live.build.id, seconds=seconds, notices=notices)

    def search_many(
        self, texts: Sequence[str], k: int, *, exact: bool = False
    ) -> tuple[LiveBuild, list[list[Candidate]]]:
        """As `search`, for many queries at once and one build. `exact`: without the build's index."""
        live, lists, _, _ = self._ask(texts, k, None, exact=exact)
        return live, lists

    def _ask(
        self, texts: Sequence[str], k: int, wanted: FilterInput, *, exact: bool = False
    ) -> tuple[LiveBuild, list[list[Candidate]], QuerySeconds, list[str]]:
        # By encoder and prompt: a second try with the same ones is not outrun a second time.
        known: dict[tuple[str, str], Matrix] = {}
        for attempt in range(POINTER_TRIES):
            live = self.live()
            condition = _parse(wanted, live.build)
            started = time.perf_counter()
            encoder = self._encoder_for(live)
            loaded = time.perf_counter()
            vectors = self._embed(encoder, texts, live, known)
            embedded = time.perf_counter()
            try:
                lists, notices = self._nearest(live, vectors, k, condition, exact)
            except BuildMissing:
                # The pointer was read, then its build went away; the new pointer names another.
                if attempt + 1 == POINTER_TRIES:
                    raise
                continue
            seconds = QuerySeconds(
                load=round(loaded - started, 4),
                embed=round(embedded - loaded, 4),
                search=round(time.perf_counter() - embedded, 4),
            )
            return live, lists, seconds, notices
        raise AssertionError("the loop returns or raises")

    def _encoder_for(self, live: LiveBuild) -> Encoder:
        wanted = live.build.fingerprints.encoder
        if self._encoder is None or self._encoder_of != wanted:
            model = model_of_build(live.build, live.pointer.query_prompt, self._base, self._home)
            # The pointer's small read leaves the canaries out.
            record = retrying(lambda: self._store.observe(self._name))
            self._encoder, _ = load_checked_encoder(model, record, self._base, self._home, quick=True)
            self._encoder_of = wanted
        return self._encoder

    def _embed(
        self, encoder: Encoder, texts: Sequence[str], live: LiveBuild, known: dict[tuple[str, str], Matrix]
    ) -> Matrix:
        recipe = (live.build.fingerprints.encoder, live.pointer.query_prompt)
        if recipe not in known:
            known[recipe] = encoder.encode(list(texts), live.pointer.query_prompt)
        # Queries stay float32: the store compares them with whatever it holds.
        reduced = reduce_vectors(
            known[recipe],
            live.build.dimension,
            bool(live.build.identity["vector"]["normalized"]),
            Quantization.float32,
        )
        return reduced.astype("float32", copy=False)

    def _nearest(
        self, live: LiveBuild, vectors: Matrix, k: int, condition: Filter | None, exact: bool
    ) -> tuple[list[list[Candidate]], list[str]]:
        notices: list[str] = []
        ask = k + SPARE
        if not has_index(live.build):
            exact = True
        elif not exact and self._max_k is not None and k > self._max_k:
            exact = True
            notices.append(f"k {k} is above what the index returns ({self._max_k}): searched exactly")
        if self._max_k is not None and not exact:
            ask = min(ask, self._max_k)
        lists = self._search(live, vectors, ask, condition, exact)
        doubtful = [
            i
            for i, hits in enumerate(lists)
            if len(hits) < min(k, ask) or (ask > k and ends_in_tie(hits, k, ask))
        ]
        if doubtful and not exact:
            # An approximate index may come back with fewer, or with any of many equal ones: never a
            # shorter list in silence, nor another one than the next store would give.
            again = self._search(live, vectors[doubtful], ask, condition, True)
            for i, hits in zip(doubtful, again, strict=True):
                lists[i] = hits
        return [order(hits)[:k] for hits in lists], notices

    def _search(
        self, live: LiveBuild, vectors: Matrix, k: int, condition: Filter | None, exact: bool
    ) -> list[list[Candidate]]:
        return retrying(
            lambda: self._store.search(
                live.build, vectors, k, search=live.pointer.search, filter=condition, exact=exact
            )
        )


def has_index(build: BuildRecord) -> bool:
    """Whether the build has an approximate index; without one every search is exact."""
    return build.index.get("type") != "exact"


def ends_in_tie(hits: Sequence[Candidate], k: int, asked: int) -> bool:
    """Whether rows equal to the k-th go on to the last of the `asked` ones, and so perhaps beyond."""
    return len(hits) == asked and round(hits[-1].score, SCORE_DIGITS) == round(
        hits[k - 1].score, SCORE_DIGITS
    )


def order(hits: Sequence[Candidate]) -> list[Candidate]:
    """Scores rounded to SCORE_DIGITS, falling; equal ones by id, then chunk: the same in every store."""
    rounded = [Candidate(h.id, h.chunk, round(h.score, SCORE_DIGITS) + 0.0, h.text, h.metadata) for h in hits]
    return sorted(rounded, key=lambda h: (-h.score, h.id, h.chunk))


def _parse(wanted: FilterInput, build: BuildRecord) -> Filter | None:
    if wanted is None or len(wanted) == 0:
        return None
    if isinstance(wanted, str):
        wanted = [wanted]
    if isinstance(wanted, Mapping):
        return parse_filter(wanted, build.fields)
    return parse_terms(wanted, build.fields)
