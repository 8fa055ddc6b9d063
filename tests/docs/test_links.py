"""Links lead somewhere, and lists of files are true."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pages import PAGES, ROOT, blocks_of

from embedspec.spec.load import load_specs

EVERY_PAGE = [*PAGES, ROOT / "DESIGN.md", ROOT / "CHANGELOG.md"]
_LINK = re.compile(r"(?<!!)\[[^\]]+\]\(([^)\s]+)\)")
_FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


def anchors_of(page: Path) -> set[str]:
    """As GitHub makes them of headings."""
    text = _FENCED.sub("", page.read_text(encoding="utf-8"))
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", EVERY_PAGE, ids=lambda page: page.name)
def test_links_resolve(page: Path) -> None:
    for link in _LINK.findall(_FENCED.sub("", page.read_text(encoding="utf-8"))):
        if re.match(r"https?://", link):
            continue
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        assert target.exists(), f"{page.name} links to {link}"
        if anchor:
            assert anchor in anchors_of(target), f"{page.name} links to {link}"


def test_every_page_of_the_guide_is_linked_from_the_readme() -> None:
    linked = set(_LINK.findall((ROOT / "README.md").read_text(encoding="utf-8")))
    assert {f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md")} <= linked


def test_the_file_lists_are_true() -> None:
    """Every name in them exists, and every part of the package is in each."""
    parts = {
        f"embedspec/{path.name}"
        for path in (ROOT / "embedspec").iterdir()
        if (path.is_dir() and (path / "__init__.py").exists())
        or (path.suffix == ".py" and path.stem != "__init__")
    }
    for page, pattern in (
        ("CONTRIBUTING.md", r"^\| `([\w./]+)` \|"),
        ("DESIGN.md", r"^    ((?:embedspec|adapters)/\S+)"),
    ):
        told = re.findall(pattern, (ROOT / page).read_text(encoding="utf-8"), re.MULTILINE)
        assert told, page
        missing = [name for name in told if not (ROOT / name).exists()]
        assert not missing, f"{page} lists {missing}"
        left_out = parts - {name.rstrip("/") for name in told}
        assert not left_out, f"{page} leaves out {left_out}"


def test_specs_in_the_pages_are_valid(tmp_path: Path) -> None:
    found = 0
    for page in PAGES:
        for block in blocks_of(page):
            if block.language == "yaml" and re.search(r"^name:", block.text, re.MULTILINE):
                path = tmp_path / f"spec{found}.yaml"
                path.write_text(block.text, encoding="utf-8")
                load_specs(path)
                found += 1
    assert found >= 2


def test_pages_speak_of_the_project_alone() -> None:
    for page in EVERY_PAGE:
        text = page.read_text(encoding="utf-8")
        assert not re.search(r"/work/|/root/|CONTRACT|\bTODO\b|\bTBD\b", text), page.name
