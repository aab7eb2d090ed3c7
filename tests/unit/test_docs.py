"""The pages are wrapped, so that a change shows as the lines that it touches."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
WIDTH = 100


def prose(text: str) -> Iterator[tuple[int, str]]:
    """The lines that can be wrapped, with their numbers: outside code and tables, and not just a long link."""
    in_code = False
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("```"):
            in_code = not in_code
        elif not in_code and not line.startswith("|") and not re.fullmatch(r"\s*(?:- )?\S+", line):
            yield number, line


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_prose_is_wrapped(page: Path) -> None:
    long = [f"{page.name}:{number}" for number, line in prose(page.read_text()) if len(line) > WIDTH]
    assert not long, f"wrap at {WIDTH} characters"
