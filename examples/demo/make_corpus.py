"""Turn the docstrings of Python's standard library into a corpus: one JSON record a line.

    python make_corpus.py corpus.jsonl

Modules, classes, functions and the methods that explain themselves at some length, as this
interpreter has them, each once and in the order of names: the same Python writes the same file.
Nothing is downloaded. Modules are imported, so those that open a window or print are left out.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import io
import json
import pkgutil
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

LEFT_OUT = {
    "antigravity",  # opens a browser
    "distutils",  # other packages put theirs in its place
    "encodings",  # a hundred modules that say the same
    "ensurepip",
    "idlelib",
    "lib2to3",
    "nt",  # known to everybody as os
    "posix",
    "pydoc_data",
    "readline",  # writes to the terminal
    "rlcompleter",
    "test",
    "tests",
    "this",  # prints
    "tkinter",
    "turtle",
    "turtledemo",
}
LONGEST_TEXT = 2_000
"""Characters. The model of this example reads about the first thousand."""
SHORTEST_METHOD = 180
"""Methods with less to say are left out: thousands of them repeat their own name."""


def records() -> Iterator[dict[str, str]]:
    """One record for every object with a docstring, under the module that owns it."""
    modules = {name: module for name in module_names() if (module := import_quietly(name))}
    seen: set[int] = set()
    for name, module in modules.items():
        if text := docstring(module):
            yield record(name, name, "module", text)
        for short, value in public_members(module):
            owner = getattr(value, "__module__", None)
            if owner != name and (owner in modules or short not in getattr(module, "__all__", ())):
                continue  # only passed on from elsewhere
            if id(value) in seen:
                continue  # a second name
            seen.add(id(value))
            kind = "class" if inspect.isclass(value) else "function"
            if text := docstring(value):
                yield record(f"{name}.{short}", name, kind, text)
            for method, function in public_members(value) if kind == "class" else ():
                text = docstring(function)
                if len(text) >= SHORTEST_METHOD and inspect.isroutine(function):
                    yield record(f"{name}.{short}.{method}", name, "method", text)


def record(name: str, module: str, kind: str, text: str) -> dict[str, str]:
    return {"id": name, "title": name.removeprefix("builtins."), "module": module, "kind": kind, "text": text}


def module_names(package: str | None = None) -> Iterator[str]:
    """Public modules of the library, or of one package in it, each followed by its own modules."""
    if package is None:
        names = sorted(sys.stdlib_module_names)
    else:
        folders = getattr(import_quietly(package), "__path__", ())
        names = sorted(found.name for found in pkgutil.iter_modules(folders))
    for name in names:
        if name not in LEFT_OUT and not name.startswith("_"):
            full_name = f"{package}.{name}" if package else name
            yield full_name
            yield from module_names(full_name)


def import_quietly(name: str) -> ModuleType | None:
    """The module, or None where this system does not have it."""
    with contextlib.redirect_stdout(io.StringIO()):
        try:
            return importlib.import_module(name)
        except Exception:  # each module for another system fails in its own way
            return None


def public_members(holder: Any) -> list[tuple[str, Any]]:
    """Classes and functions that stand in this module or class itself, sorted by name."""
    found = []
    for name in sorted(vars(holder)):
        value = None if name.startswith("_") else getattr(holder, name, None)
        if inspect.isclass(value) or inspect.isroutine(value):
            found.append((name, value))
    return found


def docstring(value: Any) -> str:
    """The object's own docstring without its indentation, cut at LONGEST_TEXT; "" if it has none."""
    text = getattr(value, "__doc__", None)
    return inspect.cleandoc(text)[:LONGEST_TEXT].strip() if isinstance(text, str) else ""


def write_corpus(path: Path) -> int:
    """Write the file and return how many records it has."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # old modules warn that they will go
        lines = [json.dumps(found, ensure_ascii=False) for found in records()]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return len(lines)


if __name__ == "__main__":
    target = Path(sys.argv[1] if len(sys.argv) > 1 else "corpus.jsonl")
    print(f"{write_corpus(target):,} records in {target}")
