"""How a table fits a terminal: what is copied stays whole, what is long ends in …, what is least goes.

Rich lays out cells, too, but it folds them, shrinks what must stay whole, and takes half a second for a thousand rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from mlmeta.cli.text import Elastic, Styled, Table

_GAP = 2
_LEAST = 16
"""Characters that a long text keeps while there is another column to leave out."""
_SHORTEST = 8
"""Characters that it keeps in any case."""
_HEADING = 12
"""Characters that the heading of a column keeps that is not cut."""


@dataclass
class _Column:
    """A column of cells, and how wide it is drawn."""

    name: str
    heading: str
    cells: Sequence[Styled]
    is_right: bool
    is_whole: bool

    def __post_init__(self) -> None:
        self.content = max((cell_len(cell.text) for cell in self.cells), default=0)
        self.width = max(self.content, cell_len(self.heading))

    def least(self, most: int) -> int:
        """How narrow it may become, where other texts keep `most` characters: ids, times and numbers are not cut."""
        if self.is_whole or self.is_right:
            return max(self.content, min(cell_len(self.heading), _HEADING))
        return min(self.width, most)


def laid_out(table: Table, width: int) -> tuple[Text, str]:
    """A table as one text, in lines that are not to be folded, and what there is to say of columns that it leaves out.

    Args:
        table: what is shown.
        width: of the screen.
    """
    columns = _columns(table, in_full=True)
    if _excess(columns, width) > 0:
        columns = _columns(table, in_full=False)
    gone = _left_out(columns, table.spare, width)
    columns = [column for column in columns if column.name not in gone]
    for most in (_LEAST, _SHORTEST):
        _shrink(columns, most, width)
    return _drawn(columns), f"no room for {', '.join(gone)}: --wide shows all" if gone else ""


def fitted(text: str, width: int) -> str:
    """A text that is cut where it is longer than so many cells of the screen, and then ends in …."""
    return text if cell_len(text) <= width else f"{set_cell_size(text, max(width - 1, 0)).rstrip()}…"


def _columns(table: Table, *, in_full: bool) -> list[_Column]:
    cells = zip(*([_cell(cell, in_full=in_full) for cell in row] for row in table.rows), strict=True)
    found = list(cells) or [()] * len(table.columns)
    return [
        _Column(
            name, name if in_full else table.brief.get(name, name), column, name in table.right, name in table.whole
        )
        for name, column in zip(table.columns, found, strict=True)
    ]


def _cell(cell: Any, *, in_full: bool) -> Styled:
    if isinstance(cell, Elastic):
        return Styled(cell.full if in_full else cell.short, "")
    return Styled(cell, "") if isinstance(cell, str) else cell


def _excess(columns: Sequence[_Column], width: int) -> int:
    return sum(column.width for column in columns) + _GAP * (len(columns) - 1) - width


def _left_out(columns: Sequence[_Column], spare: Sequence[str], width: int) -> list[str]:
    """The columns that go, first those that can best be spared, until the others have room for what must be seen."""
    room = {column.name: column.least(_LEAST) + _GAP for column in columns}
    gone: list[str] = []
    for name in spare:
        if sum(room.values()) - _GAP <= width:
            break
        if room.pop(name, None) is not None:
            gone.insert(0, name)
    return gone


def _shrink(columns: Sequence[_Column], most: int, width: int) -> None:
    """Cut the widest columns, alike, until all fit, or none can give way."""
    while (excess := _excess(columns, width)) > 0:
        giving = [column for column in columns if column.width > column.least(most)]
        if not giving:
            return
        widest = max(column.width for column in giving)
        first = [column for column in giving if column.width == widest]
        below = max((column.width for column in giving if column.width < widest), default=0)
        floor = max(below, widest - -(-excess // len(first)))
        for column in first:
            column.width = max(floor, column.least(most))


def _drawn(columns: Sequence[_Column]) -> Text:
    parts: list[tuple[str, str]] = []
    for cells in _rows(columns):
        parts += cells
        parts.append(("\n", ""))
    return Text.assemble(*parts[:-1], no_wrap=True, overflow="ignore")


def _rows(columns: Sequence[_Column]) -> Iterator[list[tuple[str, str]]]:
    """The pieces of each line, with their styles."""
    yield _line(columns, [Styled(column.heading, "bold") for column in columns])
    yield [("─" * (sum(column.width for column in columns) + _GAP * (len(columns) - 1)), "dim")]
    for cells in zip(*(column.cells for column in columns), strict=True):
        yield _line(columns, cells)


def _line(columns: Sequence[_Column], cells: Sequence[Styled]) -> list[tuple[str, str]]:
    pieces: list[tuple[str, str]] = []
    for column, cell in zip(columns, cells, strict=True):
        text = fitted(cell.text, column.width)
        space = " " * (column.width - cell_len(text))
        pieces += [(space, ""), (text, cell.style)] if column.is_right else [(text, cell.style), (space, "")]
        pieces.append((" " * _GAP, ""))
    while pieces and not pieces[-1][0].strip():
        pieces.pop()
    return pieces
