"""The Python interface: the same verbs as the command line, returning the same objects.

    import embedspec

    plan = embedspec.plan("handbook.yaml")
    result = embedspec.reconcile("handbook.yaml")
    with embedspec.open("handbook.yaml") as index:
        hits = index.search("how do I reset my password", k=5).hits

`spec` is a path, a `Spec`, or a `LoadedSpec`. Progress comes through `on_event`, a callable that is
given `embedspec.types.Event` objects as they happen; results are the objects of `embedspec.results`
whose `.dump()` is the JSON of the command line. Errors are `embedspec.errors.EmbedspecError`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from embedspec.errors import EmbedspecError, SpecError, UsageError
from embedspec.files import write_atomically
from embedspec.results import (
    EvalResult,
    GcResult,
    Plan,
    QueryResult,
    ReconcileResult,
    StatusResult,
    SwitchResult,
    ValidateResult,
)
from embedspec.spec.load import LoadedSpec, in_memory, load_specs
from embedspec.spec.model import Spec
from embedspec.types import Event

if TYPE_CHECKING:
    from embedspec.reconciler.reader import FilterInput, Index
    from embedspec.reconciler.session import Session

Listener: TypeAlias = Callable[[Event], None]
SpecInput: TypeAlias = "str | Path | Spec | LoadedSpec"


def load(path: str | Path, *, allow_python: bool = True) -> list[LoadedSpec]:
    """The specs of a file or folder. Raises SpecError with every fault and its place."""
    return load_specs(path, allow_python=allow_python)


def _one(spec: SpecInput) -> LoadedSpec:
    if isinstance(spec, LoadedSpec):
        return spec
    if isinstance(spec, Spec):
        return in_memory(spec)
    found = load_specs(spec)
    if len(found) != 1:
        names = ", ".join(s.spec.name for s in found)
        raise UsageError(f"{spec} holds {len(found)} specs ({names}), not one", fix="name one file")
    return found[0]


def _session(spec: SpecInput, *, upgrade: bool = False, locked: bool = False) -> Session:
    from embedspec.reconciler.session import Session

    return Session(_one(spec), upgrade=upgrade, locked=locked)


def _ignore(_: Event) -> None:
    return None


def validate(spec: SpecInput) -> ValidateResult:
    """Check the spec by itself and its target by the store's own rules. Reads nothing else."""
    session = _session(spec)
    _ = session.target
    return ValidateResult(spec=session.spec.name, path=str(session.loaded.path or ""))


def plan(
    spec: SpecInput,
    *,
    probe: bool = False,
    upgrade: bool = False,
    locked: bool = False,
    limit: int | None = None,
    on_event: Listener | None = None,
) -> Plan:
    """What `reconcile` would do, and what it would cost. Writes nothing; loads a model only to
    measure its speed (`probe`)."""
    from embedspec.reconciler.observe import observe

    session = _session(spec, upgrade=upgrade, locked=locked)
    with session.open_store(write=False) as store:
        return observe(session, store, limit=limit, probe=probe, on_event=on_event or _ignore).plan


def reconcile(
    spec: SpecInput,
    *,
    plan: Plan | None = None,
    approve: Callable[[Plan], bool] | None = None,
    limit: int | None = None,
    allow_mass_delete: bool = False,
    lock_timeout_s: float = 0.0,
    upgrade: bool = False,
    locked: bool = False,
    budget_tokens: int | None = None,
    max_seconds: float | None = None,
    stop: threading.Event | None = None,
    on_event: Listener | None = None,
) -> ReconcileResult:
    """Make the store agree with the spec.

    `plan`: execute exactly this saved plan, or raise PlanRefused if the world moved. `approve`: asked
    once about a plan that is not empty. `stop`: when set, the run ends after the batch in flight.
    Look at `result.exit_code` (0 done, 3 held, 7 stopped, 9 dead letters or no proof for deletes).
    """
    from embedspec.reconciler.run import RunOptions
    from embedspec.reconciler.run import reconcile as run

    session = _session(spec, upgrade=upgrade, locked=locked)
    options = RunOptions(
        limit=limit,
        allow_mass_delete=allow_mass_delete,
        lock_timeout_s=lock_timeout_s,
        budget_tokens=budget_tokens,
        max_seconds=max_seconds,
        stop=stop or threading.Event(),
    )
    return run(session, options, saved=plan, approve=approve, on_event=on_event or _ignore)


def status(spec: SpecInput) -> StatusResult:
    """Builds, live pointer, lease and dead letters, as the store tells them."""
    from embedspec.reconciler import lifecycle

    return lifecycle.status(_session(spec))


@contextmanager
def open(spec: SpecInput | tuple[Mapping[str, Any], str]) -> Iterator[Index]:
    """An index to search: by spec, or by (target, name), which needs no spec since readers take
    everything from the pointer in the store. Relative paths then start in the working directory."""
    from embedspec.reconciler.reader import Index
    from embedspec.reconciler.session import Session

    if isinstance(spec, tuple):
        target, name = spec
        session = Session(in_memory(Spec.model_validate(_bare(target, name))))
    else:
        session = _session(spec)
    with session.open_store(write=False) as store:
        yield Index(
            store,
            session.spec.name,
            base=session.loaded.base,
            home=session.home,
            max_k=session.adapter.capabilities.max_k,
        )


def _bare(target: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A spec with nothing but a target: model and corpus are never looked at by a reader."""
    return {
        "name": name,
        "model": {"use": "path:."},
        "corpus": {"source": {"type": "jsonl", "path": "unused.jsonl"}},
        "target": dict(target),
    }


def query(spec: SpecInput, text: str, *, k: int = 10, filter: FilterInput = None) -> QueryResult:
    """The `k` nearest documents of the live build."""
    with open(spec) as index:
        return index.search(text, k, filter)


def evaluate(
    spec: SpecInput, *, run_file: Path | None = None, on_event: Listener | None = None
) -> EvalResult:
    """Retrieval metrics of the live build on the spec's golden labels."""
    from embedspec.reconciler.measure import evaluate as measure

    return measure(_session(spec), run_file=run_file, on_event=on_event or _ignore)


def promote(
    spec: SpecInput,
    build: str | None = None,
    *,
    force: bool = False,
    reason: str | None = None,
    lock_timeout_s: float = 0.0,
) -> SwitchResult:
    """Move readers to a finished build of the spec's identity; undoes a rejection."""
    from embedspec.reconciler import lifecycle

    if force and not reason:
        raise UsageError("force needs a reason", fix="say why; it is kept in the store's history")
    return lifecycle.promote(_session(spec), build, force=force, reason=reason, lock_timeout_s=lock_timeout_s)


def rollback(spec: SpecInput, build: str | None = None, *, lock_timeout_s: float = 0.0) -> SwitchResult:
    """Move readers one step back; the next `reconcile` does not undo it."""
    from embedspec.reconciler import lifecycle

    return lifecycle.rollback(_session(spec), build, lock_timeout_s=lock_timeout_s)


def gc(spec: SpecInput, *, grace_s: float | None = None, lock_timeout_s: float = 0.0) -> GcResult:
    """Drop builds beyond `keep_builds` that readers have left."""
    from embedspec.reconciler import lifecycle

    return lifecycle.gc(_session(spec), grace_s=grace_s, lock_timeout_s=lock_timeout_s)


def schema() -> dict[str, Any]:
    """The JSON schema of the spec, with the targets of all installed stores."""
    from embedspec.spec.schema import spec_schema
    from embedspec.stores.adapters import adapter, installed

    public = [name for name in installed() if name != "memory"]
    return spec_schema({name: adapter(name).target_model.model_json_schema() for name in public})


def save_plan(plan: Plan, path: str | Path) -> None:
    """Write a plan for `reconcile(plan=…)`. It holds no document text and no secret."""
    try:
        write_atomically(Path(path), (plan.model_dump_json(by_alias=True, indent=1) + "\n").encode())
    except OSError as error:
        raise EmbedspecError(
            f"cannot write the plan: {error.strerror}", where=str(path), fix="name a writable file"
        ) from None


def load_plan(path: str | Path) -> Plan:
    """A plan saved by `save_plan`. Raises SpecError if the file is none."""
    try:
        return Plan.model_validate_json(Path(path).read_bytes())
    except OSError as error:
        raise SpecError(
            f"cannot read the plan: {error.strerror}",
            where=str(path),
            fix="make one with `embedspec plan --out`",
        ) from None
    except ValueError:
        raise SpecError(
            "this is not a plan of embedspec", where=str(path), fix="make one with `embedspec plan --out`"
        ) from None
