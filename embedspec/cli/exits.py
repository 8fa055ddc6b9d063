"""Exit codes (docs/cli.md), and how the codes of several specs become one."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Any

from embedspec.errors import EmbedspecError

DONE = 0
FAILED = 1
CHANGES_PENDING = 2
HELD = 3
INCONCLUSIVE = 4
LOCKED = 6
STOPPED = 7
POLICY = 8
UNFINISHED = 9
USAGE = 64
INTERRUPTED = 130

#: The first of these that occurred is the exit code of a run over several specs.
PRECEDENCE = (130, 64, 1, 8, 3, 6, 4, 9, 7, 5, 2, 0)

#: These say that a run did its work, or can be run again: `--soft-exit` may turn them into 0.
SOFT = frozenset({HELD, INCONCLUSIVE, LOCKED, STOPPED, UNFINISHED})

#: With these the JSON holds the result so far beside the error.
WITH_RESULT = frozenset({HELD, INCONCLUSIVE, STOPPED, UNFINISHED})


class Interrupted(EmbedspecError):
    """A second signal, or one that came where nothing can be resumed."""

    code = INTERRUPTED


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one verb ended for one spec: the exit code and the JSON object that tells it."""

    code: int = DONE
    data: dict[str, Any] = field(default_factory=dict)
    error: EmbedspecError | None = None


def failure(error: EmbedspecError) -> Outcome:
    """The outcome of an error: the result so far around it where there is one, else a refused
    plan beside it."""
    data: dict[str, Any] = {"error": error.as_json()}
    if error.result is not None:
        if error.code in WITH_RESULT:
            data = {**error.result.dump(), **data}
        else:
            data["plan"] = error.result.dump()
    return Outcome(error.code, data, error)


def combine(codes: Iterable[int]) -> int:
    """One exit code for several specs. A code that is not in the table counts as a failure."""
    seen = {code if code in PRECEDENCE else FAILED for code in codes}
    return next((code for code in PRECEDENCE if code in seen), DONE)


def soften(code: int, soft: Collection[int]) -> int:
    """0 for the codes that `--soft-exit` names, else the code itself."""
    return DONE if code in soft else code
