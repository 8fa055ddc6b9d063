"""What `init` writes: a spec and a sample corpus that run as they are, and a line in .gitignore."""

from __future__ import annotations

from pathlib import Path

from rich.text import Text

from embedspec.cli import exits
from embedspec.cli.exits import Outcome
from embedspec.cli.output import printable
from embedspec.cli.render import command, near, next_commands
from embedspec.cli.session import Session
from embedspec.errors import EmbedspecError
from embedspec.spec.sample import sample_files

_IGNORED = ".embedspec/"


def begin(session: Session, folder: Path) -> Outcome:
    """Write the sample files into `folder`. Raises EmbedspecError, with nothing written, if one of
    them is there already or the folder cannot be written."""
    files = {folder / name: text for name, text in sample_files().items()}
    for path in files:
        if path.exists() or path.is_symlink():
            raise EmbedspecError(
                "is there already; init overwrites nothing",
                where=str(path),
                fix="name another folder: embedspec init FOLDER",
            )
    _write(folder, files)
    ignore = _ignore_home(folder)
    spec = next(path for path in files if path.suffix == ".yaml")
    commands = [
        command("plan", spec),
        command("reconcile", spec),
        command("query", spec, "my bicycle tyre is flat"),
    ]
    written = [*files, *([ignore] if ignore else [])]
    session.output.show(*(Text.assemble(("wrote ", "green"), printable(near(path))) for path in written))
    session.output.show(next_commands(*commands), fold=False)
    return Outcome(exits.DONE, {"files": [str(path) for path in written], "next": commands})


def _write(folder: Path, files: dict[Path, str]) -> None:
    done: list[Path] = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, text in files.items():
            with path.open("x", encoding="utf-8") as file:
                done.append(path)
                file.write(text)
    except OSError as error:
        for path in done:
            path.unlink(missing_ok=True)
        raise EmbedspecError(
            f"cannot be written: {error.strerror or error}",
            where=str(error.filename or folder),
            fix="name a folder that can be written",
        ) from None


def _ignore_home(folder: Path) -> Path | None:
    """In a git work tree: have git ignore caches and the embedded server. Returns the file changed."""
    here = folder.absolute()
    root = next((parent for parent in (here, *here.parents) if (parent / ".git").exists()), None)
    if root is None:
        return None
    for parent in (here, *here.parents):
        ignore = parent / ".gitignore"
        if ignore.is_file() and _names_home(ignore):
            return None
        if parent == root:
            break
    target = folder / ".gitignore"
    before = target.read_text(encoding="utf-8", errors="surrogateescape") if target.exists() else ""
    gap = "" if not before or before.endswith("\n") else "\n"
    with target.open("a", encoding="utf-8") as file:
        file.write(f"{gap}{_IGNORED}\n")
    return target


def _names_home(ignore: Path) -> bool:
    lines = ignore.read_text(encoding="utf-8", errors="replace").splitlines()
    return any(line.strip().lstrip("/") in (".embedspec", _IGNORED) for line in lines)
