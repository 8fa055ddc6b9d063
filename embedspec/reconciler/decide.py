"""Which build to work on and whether readers move to it: every state against every change.

`decide` is the table of DESIGN ("Change classes", "Rollback and failed gates stick"), as a pure
function of what is wanted and what the registry says. Content (which documents) comes later.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from embedspec.reconciler.desired import Desired
from embedspec.stores.records import BuildRecord, IndexRecord, Rejection
from embedspec.types import BuildStatus, ChangeClass

UNFINISHED = frozenset({BuildStatus.building, BuildStatus.ready})


@dataclass(frozen=True, slots=True)
class Decision:
    """`work` None with class create, rebuild, derive or reindex: a new build is made."""

    build_class: ChangeClass
    work: BuildRecord | None
    live: BuildRecord | None
    switch: bool
    """Readers move at the end (to another build, or to other reader settings)."""
    follow_live: bool
    """Content follows the recipe stored with the live build, not the spec's."""
    blocked: str | None
    reasons: tuple[str, ...]

    @property
    def on_live(self) -> bool:
        """Rows are changed under the readers; no other build is filled."""
        return self.work is not None and self.live is not None and self.work.id == self.live.id

    @property
    def makes_build(self) -> bool:
        return self.work is None and self.build_class in {
            ChangeClass.create,
            ChangeClass.rebuild,
            ChangeClass.derive,
            ChangeClass.reindex,
        }


def decide(desired: Desired, record: IndexRecord | None) -> Decision:
    live = record.live if record else None
    if record is None:
        return _new(desired, None, ("nothing of this name is in the store",))
    rejection = find_rejection(desired, record)
    if rejection is not None:
        return _blocked(live, rejection)
    if live is not None and live.fingerprints.build == desired.fingerprints.build:
        return _same_build(desired, record, live)
    usable = [
        b for b in record.builds if b.fingerprints.build == desired.fingerprints.build and not b.dropped
    ]
    finished = [b for b in usable if b.status not in UNFINISHED]
    if finished:
        newest = max(finished, key=lambda b: b.created)
        reason = f"build {newest.id} of this identity was kept: it is brought up to date and switched to"
        return Decision(
            ChangeClass.repoint, newest, live, True, False, None, (*explain(desired, live), reason)
        )
    if usable:
        newest = max(usable, key=lambda b: b.created)
        new = _new(desired, live, (f"unfinished build {newest.id} is resumed",))
        return Decision(new.build_class, newest, live, True, False, None, new.reasons)
    return _new(desired, live, ())


def find_rejection(desired: Desired, record: IndexRecord) -> Rejection | None:
    """The entry that forbids switching to what the spec asks for. While the live build itself has
    the wanted identity, only its reader settings can be refused."""
    live = record.live
    is_live = live is not None and live.fingerprints.build == desired.fingerprints.build
    for entry in reversed(record.state.rejections):
        if entry.build != desired.fingerprints.build:
            continue
        if entry.reader == desired.reader or (entry.reader is None and not is_live):
            return entry
    return None


def _blocked(live: BuildRecord | None, rejection: Rejection) -> Decision:
    blocked = f"what the spec asks for is {rejection.status.value}: {rejection.reason}"
    if live is None:
        reason = "nothing is live, and the wanted build may not be switched to"
    else:
        reason = f"the live build {live.id} is kept in step with the corpus by the spec stored with it"
    return Decision(ChangeClass.none, live, live, False, True, blocked, (reason,))


def _same_build(desired: Desired, record: IndexRecord, live: BuildRecord) -> Decision:
    pointer = record.state.pointer
    assert pointer is not None  # a live build is one that the pointer names
    reasons = []
    if pointer.query_prompt != desired.query_prompt:
        reasons.append(f"query prompt {pointer.query_prompt!r} → {desired.query_prompt!r}")
    reasons += _changes("search", pointer.search, desired.search)
    if pointer.reader != desired.reader:
        return Decision(
            ChangeClass.repoint, live, live, True, False, None, tuple(reasons) or ("reader settings",)
        )
    return Decision(ChangeClass.none, live, live, False, False, None, ())


def _new(desired: Desired, live: BuildRecord | None, reasons: tuple[str, ...]) -> Decision:
    if live is None:
        return Decision(ChangeClass.create, None, None, True, False, None, reasons or ("no build is live",))
    if (
        live.fingerprints.encoder != desired.fingerprints.encoder
        or live.identity["text"] != desired.identity["text"]
    ):
        build_class = ChangeClass.rebuild
    elif live.fingerprints.vector != desired.fingerprints.vector:
        build_class = ChangeClass.derive
    else:
        build_class = ChangeClass.reindex
    return Decision(build_class, None, live, True, False, None, (*explain(desired, live), *reasons))


def explain(desired: Desired, live: BuildRecord | None) -> tuple[str, ...]:
    """What differs between the live build and the wanted one, one line each."""
    if live is None:
        return ()
    old, new = live.identity, desired.identity
    lines = [line for part in ("encoder", "vector", "text", "storage") for line in _part(part, old, new)]
    if live.model.use != desired.model.use and live.fingerprints.encoder != desired.fingerprints.encoder:
        lines.insert(0, f"model {live.model.use} → {desired.model.use}")
    return tuple(lines)


def _part(part: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    if part == "text" and old["text"]["template"] != new["text"]["template"]:
        return ["text template " + _short(old["text"]["template"], new["text"]["template"])]
    prefix = {"vector": "embedding", "storage": "target"}.get(part, part)
    before = {k: v for k, v in old[part].items() if k != "encoder"}
    after = {k: v for k, v in new[part].items() if k != "encoder"}
    return _changes(prefix, before, after)


def _changes(prefix: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    lines = []
    for key in sorted(old.keys() | new.keys()):
        before, after = old.get(key), new.get(key)
        if before == after:
            continue
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            lines += _changes(f"{prefix}.{key}", before, after)
        else:
            lines.append(f"{prefix}.{key} {_short(before, after)}")
    return lines


def _short(before: Any, after: Any) -> str:
    def cut(value: Any) -> str:
        text = "nothing" if value is None else str(value).replace("\n", "⏎")
        return text if len(text) <= 48 else text[:45] + "…"

    return f"{cut(before)} → {cut(after)}"
