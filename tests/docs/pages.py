"""Pages of the documentation as tests see them: their code blocks, and running those in order.

A comment in front of a block says what cannot be seen in it:

    <!-- file: NAME -->        the block is a file, written to NAME before what follows runs
    <!-- not run: REASON -->   the block is not run, and why
    <!-- exit: N -->           the last command of the block ends with N; all others end with 0

Blocks of `sh` hold commands only. Blocks of `console` show output too: lines after a `$ command` are
what it prints, whole and in order, except where `…` stands for lines (or the rest of a line) that
are left out. Times, dates and ids are compared by their form, scores to 0.005, everything else as it stands;
progress on standard error is not shown. Blocks of `python` run as scripts of their own; what they
print stands in `# → ` comments.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")])

_FENCE = re.compile(r"^```(\w*)\s*$")
_COMMENT = re.compile(r"^<!-- (file|not run|exit): (.+?) -->$")
_PROGRESS = re.compile(r"(read|load|embed|write|patch|delete|index|switch|gc|eval): .*")
_PATIENCE_S = 180.0
_SCORE = re.compile(r"\b[01]\.\d{4}\b")
_SCORE_TOLERANCE = 0.005
"""Machines round differently, above all with and without bfloat16."""

_FORMS = tuple(
    (re.compile(pattern), mask)
    for pattern, mask in (
        (r"\b\d+ min \d+ s\b", "TIME"),
        (r"\b[\d.]+ (ms|s)\b", "TIME"),
        (r"\d{4}-\d\d-\d\d( \d\d:\d\d(:\d\d)?)?", "DATE"),
        (r"[\d,]+ tokens/s", "SPEED"),
        (r"\b[01]\.\d{4}\b", "SCORE"),
        (r"\b(b\d+)_[0-9a-f]{6}\b", r"\1_ID"),
        (r"postgresql \d+/", "postgresql ID/"),
        (r"\b[0-9a-f]{32}\b", "HASH"),
        (r"[-─]{3,}", "---"),
        (r"\s+", " "),
    )
)


@dataclass(frozen=True)
class Block:
    page: Path
    line: int
    language: str
    text: str
    file: str | None
    not_run: str | None
    exit_code: int

    @property
    def place(self) -> str:
        return f"{self.page.name}:{self.line}"


@dataclass(frozen=True)
class Command:
    """A command of a block and what the page shows of its output; None: the page shows none."""

    text: str
    shown: list[str] | None
    exit_code: int


def blocks_of(page: Path) -> list[Block]:
    """The fenced blocks of a page, in order."""
    found: list[Block] = []
    said: dict[str, str] = {}
    lines = iter(enumerate(page.read_text(encoding="utf-8").splitlines(), start=1))
    for number, line in lines:
        if comment := _COMMENT.match(line):
            said[comment[1]] = comment[2]
        elif fence := _FENCE.match(line):
            content = []
            for _, inner in lines:
                if inner.strip() == "```":
                    break
                content.append(inner)
            found.append(
                Block(
                    page,
                    number,
                    fence[1],
                    "\n".join(content) + "\n",
                    said.get("file"),
                    said.get("not run"),
                    int(said.get("exit", 0)),
                )
            )
            said = {}
        elif line.strip():
            assert not said, f"{page.name}:{number}: no block follows the comment {said}"
    return found


def commands_of(block: Block) -> list[Command]:
    """The commands of a `sh` or `console` block."""
    lines = block.text.splitlines()
    if block.language == "sh":
        texts = [text for text in _joined(lines) if text.strip() and not text.lstrip().startswith("#")]
        parts: list[tuple[str, list[str] | None]] = [(text, None) for text in texts]
    else:
        parts = []
        for text in _joined(lines):
            if text.startswith("$ "):
                parts.append((text[2:], []))
            else:
                shown = parts[-1][1]
                assert shown is not None
                shown.append(text)
    codes = [0] * (len(parts) - 1) + [block.exit_code]
    return [Command(text, shown, code) for (text, shown), code in zip(parts, codes, strict=True)]


def _joined(lines: list[str]) -> Iterator[str]:
    """Lines, with those that end in a backslash joined to the next."""
    start = ""
    for line in lines:
        if line.endswith("\\"):
            start += line[:-1]
            continue
        yield start + line
        start = ""


class Shell:
    """Runs commands as one terminal would: `cd` and `export` hold for what follows."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.home = folder
        self.folder = folder
        self.environment = environment
        self._after = folder.parent / f"{folder.name}.after"

    def run(self, command: str) -> tuple[int, str, str]:
        """Exit code, standard output and standard error."""
        script = f"{command}\nrc=$?; {{ pwd; env -0; }} > '{self._after}'; exit $rc"
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_PATIENCE_S,
            check=False,
        )
        if self._after.exists():
            folder, _, rest = self._after.read_text().partition("\n")
            self.folder = Path(folder)
            pairs = (pair.partition("=") for pair in rest.split("\0") if "=" in pair)
            self.environment = {name: value for name, _, value in pairs if name not in ("_", "SHLVL", "PWD")}
            self._after.unlink()
        return done.returncode, done.stdout, done.stderr

    def script(self, text: str) -> tuple[int, str, str]:
        """Run Python code as a file of its own."""
        path = self.folder / ".example.py"
        path.write_text(text, encoding="utf-8")
        done = subprocess.run(
            [sys.executable, "-W", "error", path],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_PATIENCE_S,
            check=False,
        )
        path.unlink()
        return done.returncode, done.stdout, done.stderr


def environment(**changes: str) -> dict[str, str]:
    """What a command sees: nothing of this test run's own settings, the tools of this interpreter first."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("EMBEDSPEC_", "PYTHON", "PG"))
    }
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES", "DATABASE_URL"):
        kept.pop(name, None)
    path = f"{Path(sys.executable).parent}:{kept.get('PATH', '')}"
    return {**kept, "PATH": path, "PAGER": "", **changes}


def run_block(block: Block, shell: Shell) -> None:
    """Run a block, or write its file; fails with the place in the page."""
    if block.file is not None:
        target = shell.folder / block.file
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(block.text, encoding="utf-8")
    elif block.not_run is not None:
        return
    elif block.language in ("sh", "console"):
        for command in commands_of(block):
            code, out, err = shell.run(command.text)
            said = f"{block.place}: $ {command.text}\n{out}{err}"
            assert code == command.exit_code, f"exit code {code}, not {command.exit_code}: {said}"
            if command.shown is not None:
                problem = difference(command.shown, _printed(out, err, shell.home))
                assert problem is None, f"{problem}\n{said}"
    elif block.language == "python":
        code, out, err = shell.script(block.text)
        assert code == block.exit_code, f"{block.place}: exit code {code}\n{out}{err}"
        promised = re.findall(r"# → (.+)", block.text)
        assert [form(line) for line in promised] == [form(line) for line in out.splitlines()], (
            f"{block.place}\n{out}{err}"
        )


def _printed(out: str, err: str, home: Path) -> list[str]:
    errors = [line for line in err.splitlines() if not _PROGRESS.fullmatch(line)]
    return [line.replace(str(home), "/project") for line in (*out.splitlines(), *errors) if line.strip()]


def form(line: str) -> str:
    """A line with what differs from run to run replaced by what it is."""
    for pattern, mask in _FORMS:
        line = pattern.sub(mask, line)
    return line.strip()


def difference(shown: list[str], printed: list[str]) -> str | None:
    """None if `shown` is `printed`, apart from what `…` stands for; else where they part."""
    at, gap = 0, False
    for line in (line for line in shown if line.strip()):
        if line.strip() == "…":
            gap = True
            continue
        while True:
            if at == len(printed):
                return f"not printed (any more): {line!r}"
            at += 1
            if _same(line, printed[at - 1]):
                break
            if not gap:
                return f"shown is {line!r}, printed is {printed[at - 1]!r}"
        gap = False
    if at < len(printed) and not gap:
        return f"printed, but neither shown nor left out: {printed[at]!r}"
    return None


def _same(shown: str, printed: str) -> bool:
    scores = zip(_SCORE.findall(shown), _SCORE.findall(printed), strict=False)
    if any(abs(float(a) - float(b)) > _SCORE_TOLERANCE for a, b in scores):
        return False
    if shown.rstrip().endswith("…"):
        return form(printed).startswith(form(shown.rstrip().removesuffix("…")))
    return form(shown) == form(printed)
