"""The pages: wrapped, so that a change shows as the lines that it touches, and true to the files that they name."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from mlmeta.cli.screen import drawn
from mlmeta.cli.text import Table

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "mlmeta"
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
WIDTH = 100
NUMBER = re.compile(r"[\d,.]+( (s|min|h|d|kB|MB|GB))?")
NAMES = Path.name.fget  # type: ignore[attr-defined]


def prose(text: str) -> Iterator[tuple[int, str]]:
    """The lines outside of code blocks, with their numbers."""
    in_code = False
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("```"):
            in_code = not in_code
        elif not in_code:
            yield number, line


def can_be_wrapped(line: str) -> bool:
    """Whether a line is neither of a table nor just a long link."""
    return not line.startswith("|") and not re.fullmatch(r"\s*(?:- )?\S+", line)


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_prose_is_wrapped(page: Path) -> None:
    lines = prose(page.read_text())
    assert not [f"{page.name}:{number}" for number, line in lines if len(line) > WIDTH and can_be_wrapped(line)]


def anchors(page: Path) -> set[str]:
    """What links into a page can name: its headings, as GitHub writes them."""
    headings = [line.lstrip("#").strip().lower() for _, line in prose(page.read_text()) if line.startswith("#")]
    return {re.sub(r"[^\w -]", "", heading).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_links_lead_somewhere(page: Path) -> None:
    text = "\n".join(line for _, line in prose(page.read_text()))
    lost = []
    for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", text):
        path, _, anchor = target.partition("#")
        found = (page.parent / path) if path else page
        if not found.exists() or (anchor and anchor not in anchors(found)):
            lost.append(target)
    assert not lost


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_named_files_exist(page: Path) -> None:
    """Paths in backticks, of the repository or of the package, such as `stores/sql/tables.py`."""
    text = "\n".join(line for _, line in prose(page.read_text()))
    paths = re.findall(r"`((?:src|tests|docs|cli|commands|stores|snapshot|storage|schema)/[\w./]*)`", text)
    named = [path for path in paths if "NEW" not in path]
    assert not [path for path in named if not (ROOT / path).exists() and not (PACKAGE / path).exists()]


def tree(text: str) -> Iterator[str]:
    """The paths that a drawing of folders names: one a line, indented by two blanks a folder."""
    folders: list[str] = []
    for line in text.splitlines():
        indent, name = re.match(r"( *)(\S+)", line).groups()  # type: ignore[union-attr]
        del folders[len(indent) // 2 :]
        yield "".join(folders) + name
        if name.endswith("/"):
            folders.append(name)


def test_the_drawn_tree_is_there() -> None:
    drawn = re.search(r"```\n(src/mlmeta/\n.*?)```", (ROOT / "docs" / "architecture.md").read_text(), re.DOTALL)
    assert drawn
    paths = list(tree(drawn[1]))
    assert not [path for path in paths if not (ROOT / path).exists()]
    packages = {f"{folder.relative_to(ROOT)}/" for folder in PACKAGE.rglob("*") if (folder / "__init__.py").exists()}
    assert packages <= set(paths), "each package is drawn"


def test_each_decision_has_a_date_and_a_link() -> None:
    text = (ROOT / "docs" / "decisions.md").read_text()
    entries = re.split(r"^### ", text, flags=re.MULTILINE)[1:]
    assert entries
    form = re.compile(r".+\n\n\d{4}-\d\d-\d\d ·\s\[.+\]\(.+\)")
    assert not [entry.partition("\n")[0] for entry in entries if not form.match(entry)]


def drawings(text: str) -> Iterator[list[str]]:
    """The tables of screens: a line of headings, a rule, and rows up to one with fewer cells."""
    for heading, rule, below in re.findall(r"^(.+)\n(─{20,})\n((?:.+\n)*)", text, re.MULTILINE):
        count = len(cells(heading))
        end = next((i for i, row in enumerate(below.splitlines()) if len(cells(row)) != count), None)
        yield [heading, rule, *below.splitlines()[:end]]


def cells(line: str) -> list[str]:
    return re.split(" {2,}", line)


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_tables_of_screens_are_drawn_as_they_are(page: Path) -> None:
    for drawing in drawings(page.read_text()):
        columns, _, *rows = map(cells, drawing)
        right = [name for name, *column in zip(columns, *rows, strict=True) if all(map(NUMBER.fullmatch, column))]
        console = Console(file=io.StringIO(), width=200)
        with console.capture() as captured:
            console.print(drawn([Table(columns, rows, right=tuple(right))]))
        assert [line.rstrip() for line in captured.get().splitlines()] == drawing
