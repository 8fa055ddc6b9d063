"""Every error that embedspec raises on purpose, one tree, each with what, where and how to fix it.

    EmbedspecError                 the root; `code` is the exit code it leads to
    ├── UsageError            64   the command line itself
    ├── SpecError              1   the spec (or a file it names) is wrong
    ├── CapabilityError        1   the store cannot do what the spec asks for
    ├── SourceError            1   the corpus cannot be read at all
    ├── StoreError             1   the store failed; `transient` says whether trying again may help
    │   ├── RowRefused         1   a row in the batch is not acceptable to the store; others may be
    │   ├── BuildMissing       1   the build's tables are not there (dropped under a reader)
    │   └── LeaseLost          1   another run took the lease over; nothing more may be written
    ├── LeaseHeld              6   another run works on this index
    ├── PlanRefused            1   mass delete, or a saved plan that is out of date
    ├── Held                   3   a gate failed, or the wanted build was held or rejected
    ├── ModelError             8   model safety, lock-file mismatch, canary mismatch
    ├── PolicyError            8   a policy rule failed
    └── Stopped                7   a budget or a first signal ended the run; the next run goes on

Spec wrong, store cannot, store failed: those three kinds decide what a caller may do about it
(edit, edit, retry), which is why they are classes and not texts.
"""

from __future__ import annotations

from typing import Any


class EmbedspecError(Exception):
    """An error meant for a person: `what` happened, `where` (file:line, table, URL), how to `fix` it."""

    code: int = 1

    def __init__(self, what: str, *, where: str | None = None, fix: str | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.fix = fix
        #: A result that belongs beside the error in `--json` output (a plan, or the run so far).
        self.result: Any = None

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        cure = f"\n  fix: {self.fix}" if self.fix else ""
        return f"{place}{self.what}{cure}"

    def as_json(self) -> dict[str, Any]:
        """The `error` object of `--json` output: code, what, where, fix."""
        return {"code": self.code, "what": self.what, "where": self.where, "fix": self.fix}


class UsageError(EmbedspecError):
    code = 64


class SpecError(EmbedspecError):
    """The spec, or a file that the spec names, is wrong."""


class CapabilityError(EmbedspecError):
    """The store cannot do what the spec asks for; the message names the limit and the way out."""


class SourceError(EmbedspecError):
    """The corpus cannot be read at all, e.g. no file matches `corpus.source.path`."""


class StoreError(EmbedspecError):
    """The store failed. `transient`: the same call may succeed if it is made again."""

    def __init__(
        self,
        what: str,
        *,
        where: str | None = None,
        fix: str | None = None,
        transient: bool = False,
    ) -> None:
        super().__init__(what, where=where, fix=fix)
        self.transient = transient


class RowRefused(StoreError):
    """The store refuses a value of the batch, not its own state: the core makes the row a dead letter
    and writes the others.

    `rows`: index in the batch → reason, where the store says which; else the core finds out by
    halving the batch.
    """

    def __init__(
        self,
        what: str,
        *,
        where: str | None = None,
        fix: str | None = None,
        rows: dict[int, str] | None = None,
    ) -> None:
        super().__init__(what, where=where, fix=fix)
        self.rows = rows or {}


class BuildMissing(StoreError):
    """The build's tables are gone: a reader that held an old pointer reads it again."""


class LeaseLost(StoreError):
    """This run no longer holds the lease; whatever it tried to write was not written."""


class LeaseHeld(EmbedspecError):
    code = 6


class PlanRefused(EmbedspecError):
    """A plan that may not be executed as it stands; `result` holds the plan."""


class Held(EmbedspecError):
    """The wanted build failed a gate, is held or was rejected; `result` holds the run so far."""

    code = 3


class ModelError(EmbedspecError):
    code = 8


class PolicyError(EmbedspecError):
    code = 8


class Stopped(EmbedspecError):
    code = 7
