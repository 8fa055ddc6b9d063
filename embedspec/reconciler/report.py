"""What a run says when it ends: counts, times, exit code, the file of dead letters."""

from __future__ import annotations

import contextlib
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

import orjson

from embedspec.files import write_atomically
from embedspec.reconciler.limits import Limits
from embedspec.reconciler.observe import Observation
from embedspec.reconciler.outcome import Outcome
from embedspec.reconciler.session import Session
from embedspec.results import Plan, ReconcileResult, Seconds
from embedspec.stores.records import IndexRecord
from embedspec.types import DeadLetter


@dataclass(slots=True)
class Report:
    """The frame of one run. `limits.reason` is read at the end: whether and why it stopped early."""

    session: Session
    limits: Limits
    started: float = field(default_factory=time.perf_counter)

    def untouched(self, seen: Observation, record: IndexRecord | None) -> ReconcileResult:
        """A run that had nothing to do to rows."""
        return self.published(self.done(seen, seen, Outcome(), record, seen.standing), seen.standing)

    def done(
        self,
        planned: Observation,
        last: Observation,
        outcome: Outcome,
        record: IndexRecord | None,
        letters: list[DeadLetter],
    ) -> ReconcileResult:
        """`planned` is what the run started from: class, counts and price are its. `last` is the
        newest look at the corpus: whether it was complete and what holds the switch back. `record`
        is how the run left the store."""
        plan, newest = planned.plan, last.plan
        live = record.live if record else None
        flow = outcome.flow
        embed_s = flow.busy.get("embed", 0.0)
        expected_s = plan.estimate.seconds
        comparable = expected_s and embed_s and self.limits.reason is None
        taken = {"build", "live", "warnings", "failed", "complete", "blocked"}
        result = ReconcileResult(
            **{name: getattr(plan, name) for name in Plan.model_fields if name not in taken},
            warnings=list(dict.fromkeys([*plan.warnings, *newest.warnings, *outcome.notes])),
            failed=len(letters),
            complete=newest.complete,
            blocked=newest.blocked or plan.blocked,
            embedded=flow.embedded,
            cached=flow.cached,
            written=outcome.written,
            patched=outcome.patched,
            deleted=outcome.deleted,
            moved=flow.moved,
            build=outcome.build.id if outcome.build else plan.build,
            live=live.id if live else None,
            tokens_embedded=flow.tokens,
            seconds=Seconds(
                read=round(planned.read_s + flow.busy.get("read", 0.0), 3),
                embed=round(embed_s, 3),
                write=round(outcome.write_s, 3),
                index=round(outcome.index_s, 3),
                total=round(time.perf_counter() - self.started, 3),
            ),
            busy={stage: round(seconds, 3) for stage, seconds in flow.busy.items()},
            estimate_error=round(embed_s / expected_s - 1, 3) if comparable and expected_s else None,
        )
        result.exit_code, result.message = self._exit(result, rejected=planned.work.decision.follow_live)
        return result

    def published(self, result: ReconcileResult, letters: list[DeadLetter]) -> ReconcileResult:
        """The final result: the file of dead letters is brought up to date with it."""
        try:
            result.dead_letters = self._write_letters(letters)
        except OSError as error:
            # They stand in the registry; the file is for people.
            result.warnings.append(f"cannot write the file of dead letters: {error.strerror}")
        return result

    def _exit(self, result: ReconcileResult, *, rejected: bool) -> tuple[int, str | None]:
        """Of several reasons the first of 3, 9, 7 counts (`cli/exits.py` has the order)."""
        if rejected:
            return 3, result.blocked
        why = []
        if result.failed:
            why.append(
                f"{result.failed:,} dead letters stand" if result.failed > 1 else "1 dead letter stands"
            )
        if not result.complete:
            why.append(result.blocked or "the source was not read completely: nothing was deleted")
        if self.limits.reason is not None:
            why.append(self.limits.reason)
        if result.failed or not result.complete:
            return 9, "; ".join(why)
        if self.limits.reason is not None:
            return 7, f"{self.limits.reason}; run again to go on"
        return 0, result.blocked

    def _write_letters(self, letters: list[DeadLetter]) -> str | None:
        """The JSON-lines file of dead letters for people; removed when none stand."""
        path: Path = self.session.home.dead_letters / f"{self.session.spec.name}.jsonl"
        if not letters:
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
            return None
        lines = b"".join(orjson.dumps(asdict(letter)) + b"\n" for letter in letters)
        if not path.is_file() or path.read_bytes() != lines:
            write_atomically(path, lines, parents=True)
        return str(path)
