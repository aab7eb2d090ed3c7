"""The pages: wrapped, so that a change shows as the lines that it touches, and true to the files that they name."""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from rich.console import Console

from mlmeta.cli.screen import drawn
from mlmeta.cli.text import Table
from tests.support import cli_reference

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "mlmeta"
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])
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


def links(page: Path) -> list[str]:
    """What a page links to in the repository."""
    text = "\n".join(line for _, line in prose(page.read_text()))
    return re.findall(r"\]\((?!https?:)([^)\s]+)\)", text)


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_links_lead_somewhere(page: Path) -> None:
    lost = []
    for target in links(page):
        path, _, anchor = target.partition("#")
        found = (page.parent / path) if path else page
        if not found.exists() or (anchor and anchor not in anchors(found)):
            lost.append(target)
    assert not lost


class Configuration(yaml.SafeLoader):
    """Reads MkDocs' configuration, whatever it makes of its own tags."""


Configuration.add_multi_constructor("tag:yaml.org,2002:python/", lambda *_: None)


def pages_of(nav: object) -> Iterator[str]:
    """The pages that a navigation names, in its folders, too."""
    if isinstance(nav, str):
        yield nav
    elif isinstance(nav, dict):
        yield from pages_of(list(nav.values()))
    elif isinstance(nav, list):
        for entry in nav:
            yield from pages_of(entry)


def test_the_site_has_each_page_once_and_links_only_to_its_own() -> None:
    configuration = yaml.load((ROOT / ".mkdocs.yml").read_text(), Configuration)
    shown = [DOCS / page for page in pages_of(configuration["nav"])]
    hidden = [DOCS / page.lstrip("/") for page in configuration["exclude_docs"].split()]
    assert sorted([*shown, *hidden]) == sorted(DOCS.rglob("*.md"))
    own = {*shown, *DOCS.glob("assets/**/*")}
    targets = {
        page: [os.path.normpath(page.parent / link.partition("#")[0]) for link in links(page) if link[0] != "#"]
        for page in shown
    }
    assert not [(page.name, link) for page, found in targets.items() for link in found if Path(link) not in own]


def calls(page: Path) -> Iterator[list[str]]:
    """The words of each call of mlmeta in a page, in blocks and within sentences."""
    text = page.read_text().replace("\\\n", " ")
    for call in re.findall(r"(?:[`$&] ?|exec )mlmeta ([^`\n]*)|^mlmeta (\w+ +--?[^`\n]*)", text, re.MULTILINE):
        words = shlex.shlex("".join(call).partition(" #")[0], posix=True, punctuation_chars=True)
        words.whitespace_split = True
        with contextlib.suppress(ValueError):  # a quote that is closed on another line
            yield list(words)


@pytest.mark.parametrize("page", [page for page in PAGES if page.name not in {"cli.md", "decisions.md"}], ids=NAMES)
def test_commands_and_options_exist(page: Path) -> None:
    commands = cli_reference.commands()
    before = {name for parameter in cli_reference.everywhere() for name in parameter.opts}
    for words in calls(page):
        own = words[: words.index("--")] if "--" in words else words
        named = [commands[word] for word in own if word in commands]  # two of `mlmeta config backup --jobs 4`
        assert named or not words or re.match(r"-|[A-Z…]", words[0]), words
        options = {word.partition("=")[0] for word in own if re.match(r"--\w", word)}
        known = {name for command in named for parameter in command.params for name in parameter.opts}
        assert not options - known - before - {"--help", "--keep-…"}, words


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_named_files_exist(page: Path) -> None:
    """Paths in backticks, of the repository or of the package, such as `stores/sql/tables.py`."""
    text = "\n".join(line for _, line in prose(page.read_text()))
    paths = re.findall(r"`((?:src|tests|docs|recipes|cli|commands|stores|snapshot|storage|schema)/[\w./]*)`", text)
    named = [path for path in paths if "NEW" not in path]
    assert not [path for path in named if not (ROOT / path).exists() and not (PACKAGE / path).exists()]


def test_pages_that_the_code_names_exist() -> None:
    """In messages, help texts and docstrings."""
    texts = {path: path.read_text() for path in PACKAGE.rglob("*.py")}
    named = [(path.name, page) for path, text in texts.items() for page in re.findall(r"docs/[\w/.-]+\.md", text)]
    assert named
    assert not [(name, page) for name, page in named if not (ROOT / page).exists()]


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
        numbers = [name for name, *column in zip(columns, *rows, strict=True) if all(map(NUMBER.fullmatch, column))]
        right = [name for name in numbers if not name.startswith("params.")]  # which are texts
        console = Console(file=io.StringIO(), width=200)
        with console.capture() as captured:
            console.print(drawn([Table(columns, rows, right=tuple(right))]))
        assert [line.rstrip() for line in captured.get().splitlines()] == drawing
