"""Loads specs from a file or a folder; what it gives back knows the place of every key."""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from embedspec.errors import EmbedspecError, SpecError
from embedspec.spec import model as spec_model
from embedspec.spec.model import Spec
from embedspec.spec.problems import Problem, SpecProblems
from embedspec.spec.secrecy import masked, shown
from embedspec.spec.validation import problems_of
from embedspec.spec.yaml_positions import MAX_BYTES, Document, load_yaml

M = TypeVar("M", bound=BaseModel)

_YAML_SUFFIXES = (".yaml", ".yml")


@dataclass(frozen=True, eq=False, slots=True)
class LoadedSpec:
    """A spec, the file it came from, and the folder that its relative paths start in."""

    spec: Spec
    path: Path | None
    """As it was named; None for a spec that was made in Python and belongs to no file."""
    base: Path
    """Absolute."""
    document: Document | None = field(default=None, repr=False)

    def where(self, dotted_path: str = "") -> str:
        """`file:line` of a key (`corpus.source.path`, list entries as `[1]` or `.1`), or of the
        nearest thing around it that the file holds; a Python spec has no lines."""
        if self.document is None:
            return str(self.path) if self.path else f"Spec {self.spec.name!r}"
        if not self.document.has(dotted_path):
            dotted_path = re.sub(r"\.(\d+)(?=[.\[]|$)", r"[\1]", dotted_path)
        return self.document.where(dotted_path)

    def error(self, dotted_path: str, what: str, fix: str) -> SpecError:
        """An error about one key of this spec, for the caller to raise."""
        return SpecError(what, where=self.where(dotted_path), fix=fix)

    def target_as(self, model: type[M]) -> M:
        """`target` as the store's own model. Raises SpecError with the places of what is wrong."""
        try:
            return model.model_validate(self.spec.target)
        except ValidationError as error:
            has = self.document.has if self.document else lambda _: True
            raise SpecProblems(problems_of(error, model, root="target", has=has, where=self.where)) from None
        except SpecError as error:  # a store's own refusal, which knows the key but not the file
            key = re.match(r"target(\.\w+)*", error.what)
            error.where = error.where or self.where(key[0] if key else "target")
            raise


def in_memory(spec: Spec, base: Path | None = None) -> LoadedSpec:
    """A spec made in Python; relative paths start in `base` (default: the working directory)."""
    return LoadedSpec(spec, None, (base or Path.cwd()).absolute())


def load_specs(path: Path | str, *, allow_python: bool = True) -> list[LoadedSpec]:
    """The specs of a file (.yaml, .yml, .json, .py) or of a folder (its *.yaml and *.yml, not below).

    Files of a folder whose names start with a dot are left alone. Raises one SpecError that lists
    everything wrong in all files. A .py file is run, unless `allow_python` forbids it.
    """
    path = Path(path)
    try:
        files = _spec_files(path) if path.is_dir() else [path]
    except OSError as error:
        raise SpecError(
            f"cannot be read: {error.strerror}",
            where=str(path),
            fix="check its rights, and those of the folders above it",
        ) from None
    if not files:
        raise SpecError(
            "no spec in this folder: it has no *.yaml and no *.yml",
            where=str(path),
            fix="name a spec file, or write one with `embedspec init`",
        )
    loaded: list[LoadedSpec] = []
    errors: list[SpecError] = []
    for file in files:
        try:
            loaded += _load_file(file, allow_python=allow_python)
        except SpecError as error:
            errors.append(error)
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise SpecProblems([problem for error in errors for problem in _problems(error)])
    refuse_shared_names(loaded)
    return loaded


def refuse_shared_names(loaded: Sequence[LoadedSpec]) -> None:
    """Raises SpecError if two specs would have one name in a store ('-' becomes '_' in some)."""
    first: dict[str, LoadedSpec] = {}
    for item in loaded:
        name = item.spec.name
        other = first.setdefault(name.replace("-", "_"), item)
        if other is not item:
            both = f"{other.spec.name!r} ({other.where('name')}) and {name!r}"
            raise item.error("name", f"name: {both} are one name in a store", "rename one of them")


def _problems(error: SpecError) -> Sequence[Problem]:
    if isinstance(error, SpecProblems):
        return error.problems
    return [Problem(error.what, error.where or "", error.fix or "")]


def _load_file(path: Path, *, allow_python: bool) -> list[LoadedSpec]:
    if path.suffix not in (*_YAML_SUFFIXES, ".json", ".py"):
        raise _wrong_file(path)
    if path.suffix == ".py" and not allow_python:
        raise SpecError(
            "is Python code, and --no-python forbids running it",
            where=str(path),
            fix="leave --no-python out if you trust the file, or write the spec as YAML",
        )
    raw = _read(path)
    if path.suffix == ".py":
        return _run_python(raw, path)
    if path.suffix == ".json":
        raw = raw.replace(b"\t", b" ")  # white space in JSON, but not in YAML; never inside a string
    document = load_yaml(raw, str(path))
    return [LoadedSpec(_validate(document), path, path.parent.absolute(), document)]


def _validate(document: Document) -> Spec:
    if not isinstance(document.data, dict):
        got = shown("", document.data)
        what = f"is no spec: it must be keys with values; got {got}"
        raise SpecProblems(
            [Problem(what, document.where(""), "write `name: …` and so on; see `embedspec init`")]
        )
    try:
        return Spec.model_validate(document.data)
    except ValidationError as error:
        raise SpecProblems(problems_of(error, Spec, has=document.has, where=document.where)) from None


def _read(path: Path) -> bytes:
    """At most one byte more than a spec may have: whoever decodes it refuses that."""
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise _missing(path) from None
    except OSError as error:
        raise SpecError(
            f"cannot be read: {error.strerror or error}", where=str(path), fix="check the file and its rights"
        ) from None


def _spec_files(folder: Path) -> list[Path]:
    return sorted(f for f in folder.iterdir() if f.suffix in _YAML_SUFFIXES and not f.name.startswith("."))


def _missing(path: Path) -> SpecError:
    siblings = [f.name for f in path.parent.iterdir()] if path.parent.is_dir() else []
    close = difflib.get_close_matches(path.name, siblings, n=1)
    fix = f"did you mean {path.parent / close[0]}?" if close else "name a spec file or a folder of specs"
    return SpecError("does not exist", where=str(path), fix=fix)


def _wrong_file(path: Path) -> SpecError:
    if not path.exists():
        return _missing(path)
    return SpecError(
        f"a spec file ends in .yaml, .yml, .json or .py; this one in {path.suffix or 'nothing'!r}",
        where=str(path),
        fix="rename it, or name another file",
    )


# --- Python specs --------------------------------------------------------------------------------------


def _run_python(raw: bytes, path: Path) -> list[LoadedSpec]:
    """Run the file and take its `spec` or `specs`. What it prints goes to stderr: stdout belongs to
    results. Modules beside the file can be imported."""
    base = path.parent.absolute()
    name = f"embedspec_spec_{hashlib.blake2b(str(path.absolute()).encode(), digest_size=6).hexdigest()}"
    module = ModuleType(name)
    module.__file__ = str(path)
    sys.modules[name] = module  # dataclasses and pydantic look their module up
    try:
        with _import_from(base), contextlib.redirect_stdout(sys.stderr):
            exec(compile(raw, str(path), "exec"), module.__dict__)
            found = _exposed(module, path)
    except EmbedspecError:
        raise
    except ValidationError as error:
        part = getattr(spec_model, error.title, None)
        if part is None:  # a model of the file's own
            raise _python_failed(error, path) from error
        place = f"{path}:{_line_in(path, error.__traceback__)}"
        raise SpecProblems(problems_of(error, part, has=lambda _: True, where=lambda _: place)) from None
    except (Exception, SystemExit) as error:
        raise _python_failed(error, path) from error
    return [LoadedSpec(spec, path, base) for spec in found]


@contextlib.contextmanager
def _import_from(folder: Path) -> Iterator[None]:
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):
            sys.path.remove(str(folder))


def _exposed(module: ModuleType, path: Path) -> list[Spec]:
    names = [name for name in ("spec", "specs") if hasattr(module, name)]
    if len(names) != 1:
        what = "exposes both `spec` and `specs`" if names else "exposes neither `spec` nor `specs`"
        raise SpecError(
            what, where=str(path), fix="assign one of them: `spec = Spec(…)` or `specs = [Spec(…), …]`"
        )
    value: Any = getattr(module, names[0])
    found = [value] if names[0] == "spec" else list(value)
    if not found:
        raise SpecError("`specs` is empty", where=str(path), fix="put at least one Spec into it")
    for item in found:
        if not isinstance(item, Spec):
            raise SpecError(
                f"`{names[0]}` holds a {type(item).__name__}, not a Spec",
                where=str(path),
                fix="build it with `from embedspec import Spec`",
            )
    return found


def _python_failed(error: BaseException, path: Path) -> SpecError:
    line = error.lineno if isinstance(error, SyntaxError) else _line_in(path, error.__traceback__)
    reason = error.msg if isinstance(error, SyntaxError) else str(error)
    what = f"running it failed: {type(error).__name__}: {masked(reason)}" if reason else type(error).__name__
    return SpecError(
        what, where=f"{path}:{line}" if line else str(path), fix="run it with `python` to see more"
    )


def _line_in(path: Path, trace: TracebackType | None) -> int | None:
    """The last line of the file itself on the way to the error."""
    line = None
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == str(path):
            line = trace.tb_lineno
        trace = trace.tb_next
    return line
