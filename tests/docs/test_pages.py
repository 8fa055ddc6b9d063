"""Every command and every example of the documentation runs, in the order in which it is read."""

from __future__ import annotations

from pathlib import Path

import pytest
from pages import PAGES, Block, Shell, blocks_of, commands_of, difference, run_block

LANGUAGES = {"sh", "console", "python", "yaml", "json", "text", "toml", "sql"}
RUN = {"sh", "console", "python"}


def needs_database(page: Path) -> bool:
    return "DATABASE_URL" in page.read_text(encoding="utf-8")


# json.md runs in test_reference.py, which also looks into what its commands print.
@pytest.mark.parametrize("page", [p for p in PAGES if p.name != "json.md"], ids=lambda page: page.name)
def test_page(page: Path, shell: Shell, request: pytest.FixtureRequest) -> None:
    blocks = blocks_of(page)
    if needs_database(page):
        shell.environment |= request.getfixturevalue("databases")
    for block in blocks:
        run_block(block, shell)


ALL_BLOCKS = [block for page in PAGES for block in blocks_of(page)]


@pytest.mark.parametrize("block", ALL_BLOCKS, ids=lambda block: block.place)
def test_block_is_written_as_the_tests_read_it(block: Block) -> None:
    assert block.language in LANGUAGES, f"{block.place}: give the block a language"
    if block.not_run is not None:
        assert block.language in RUN, f"{block.place}: only what would run needs a reason not to"
        assert len(block.not_run) > 10, f"{block.place}: say why"
    if block.language == "console":
        assert block.text.startswith("$ "), block.place
        assert commands_of(block), block.place


def test_commands_stand_in_blocks_that_run() -> None:
    """A `$ ` line in another kind of block would be a command that nobody tries."""
    for block in ALL_BLOCKS:
        if block.language != "console" and block.file is None:
            assert not [line for line in block.text.splitlines() if line.startswith("$ ")], block.place


def test_differences_are_found() -> None:
    printed = ["one  1.0 s", "two", "three 0.1234", "four and more"]
    assert difference(["one 2.5 s", "two", "three 0.1236", "four …"], printed) is None
    assert difference(["one 2.5 s", "…", "four and more"], printed) is None
    assert difference(["…", "three 0.1234", "…"], printed) is None
    assert "not printed" in (difference(["…", "three 0.5000", "…"], printed) or "")
    assert "printed is 'two'" in (difference(["one 1 s", "three 0.1234", "…"], printed) or "")
    assert "neither shown" in (difference(["one 1 s", "two"], printed) or "")
    assert "not printed" in (difference(["…", "five"], printed) or "")
