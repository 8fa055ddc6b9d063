"""Everything wrong with a spec, told at once: one error that lists each place, value and way out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from embedspec.errors import SpecError


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing to change: what is wrong, where (`file:line`), and how to put it right."""

    what: str
    where: str
    fix: str


class SpecProblems(SpecError):
    """A SpecError made of one problem or several; `problems` has them one by one."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        first = self.problems[0]
        if len(self.problems) == 1:
            super().__init__(first.what, where=first.where, fix=first.fix)
            return
        lines = "".join(f"\n  {p.where}: {p.what}; fix: {p.fix}" for p in self.problems)
        super().__init__(
            f"{len(self.problems)} things are wrong:{lines}",
            where=first.where,
            fix="correct these lines; `embedspec validate` checks them again",
        )
