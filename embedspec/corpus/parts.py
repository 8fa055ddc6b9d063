"""The files of a source: which names match its patterns, in which order, and what hid some of them."""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from embedspec.errors import SourceError


@dataclass(frozen=True, slots=True)
class Part:
    """One file. `name` is relative to the spec's folder, so that nothing that is kept depends on
    where the project is checked out. `fault`: it is a folder that could not be searched, and why."""

    name: str
    path: Path
    fault: str | None = None


def find_parts(base: Path, patterns: Sequence[str]) -> list[Part]:
    """The files that match, each once, sorted by name. Raises SourceError if a pattern matches none.

    Patterns are relative to `base` and know `*`, `?`, `[…]` and `**` (any folders); names that begin
    with a dot match only a pattern that does. A name that exists as it is written is taken literally,
    whatever brackets or stars it has. A link that leads nowhere and a folder that may not be searched
    are parts that cannot be read: what was once there must not look deleted, which is what
    `glob.glob` and `Path.glob` make of it.
    """
    found: dict[str, Part] = {}  # by path
    for pattern in patterns:
        literal = base / pattern
        if literal.is_dir():
            raise SourceError(
                f"corpus.source.path: {pattern!r} is a folder",
                where=str(literal),
                fix=f"name its files, e.g. {pattern.rstrip('/')}/*.jsonl",
            )
        if os.path.lexists(literal):
            parts = [Part(_name(base, literal), literal)]
        else:
            parts = list(_Search(base).run(pattern))
        if not parts:
            raise SourceError(
                f"corpus.source.path: no file matches {pattern!r}",
                where=str(base),
                fix="the path is relative to the spec file's folder; check it and its spelling",
            )
        found.update({os.path.relpath(part.path, base): part for part in parts})
    return [found[path] for path in sorted(found)]


def _name(base: Path, path: Path) -> str:
    """Bytes that are no UTF-8 are shown as U+FFFD: the name goes into results, which are UTF-8."""
    return os.fsencode(Path(os.path.relpath(path, base)).as_posix()).decode(errors="replace")


class _Search:
    """A walk along one pattern."""

    def __init__(self, base: Path) -> None:
        self.base = base

    def run(self, pattern: str) -> Iterator[Part]:
        path = self.base / pattern
        steps = path.parts[1:] if path.is_absolute() else path.parts
        if steps[-1] == "**":
            steps = (*steps, "*")
        yield from self._walk(Path(path.anchor), steps, frozenset())

    def _walk(
        self, folder: Path, steps: tuple[str, ...], above: frozenset[tuple[int, int]]
    ) -> Iterator[Part]:
        step, rest = steps[0], steps[1:]
        if step != "**" and not any(mark in step for mark in "*?["):
            path = folder / step
            if rest:
                yield from self._walk(path, rest, above)
            elif os.path.lexists(path) and not path.is_dir():
                yield Part(_name(self.base, path), path)
            return
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            yield Part(_name(self.base, folder), folder, f"cannot be searched: {error.strerror or error}")
            return
        if step == "**":
            yield from self._walk(folder, rest, above)
        for entry in entries:
            path = folder / entry.name
            if step == "**":
                # Links are followed, though never back into a folder that the walk is in.
                if (
                    path.is_dir()
                    and not entry.name.startswith(".")
                    and (mark := _identity(path)) not in above
                ):
                    yield from self._walk(path, steps, above | {mark})
            elif fnmatch.fnmatchcase(entry.name, step) and (step[0] == "." or entry.name[0] != "."):
                if rest:
                    yield from self._walk(path, rest, above)
                elif not path.is_dir():
                    yield Part(_name(self.base, path), path)


def _identity(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino
