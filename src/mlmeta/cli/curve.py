"""A curve of braille characters, two by four dots each, with its axes."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from mlmeta.cli.text import Styled, number

if TYPE_CHECKING:
    from mlmeta.cli.text import Curve, Piece

_ROWS = 10
_WIDEST = 100
_NARROWEST = 20
_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""Bits of a braille character, by row and column of its dots."""
_BLANK = 0x2800

Dot = tuple[int, int]


def lines(curve: Curve, width: int) -> Iterator[list[Piece]]:
    """A curve, line by line; nothing where no value is finite.

    Args:
        curve: its points. A value that is not finite leaves a gap.
        width: of the screen.
    """
    finite = [y for y in curve.y if math.isfinite(y)]
    if not finite:
        return
    low, high = min(finite), max(finite)
    labels = {0: number(high), _ROWS // 2: number(low / 2 + high / 2), _ROWS - 1: number(low)}
    if low == high:
        labels = {_ROWS // 2: number(low)}
    margin = max(map(len, labels.values()))
    columns = max(min(width, _WIDEST) - margin - 2, _NARROWEST)
    place = _Places(curve, columns)
    cells = _cells(curve, place)
    marks = {place.cell(i): mark for i, mark in curve.marks.items() if math.isfinite(curve.y[i])}
    for row in range(_ROWS):
        axis = Styled(f"{labels.get(row, ''):>{margin}} {'┤' if row in labels else '│'}", "dim")
        last = max((column for column, of in (*cells, *marks) if of == row), default=-1)
        yield [axis, *(marks.get((column, row)) or cells.get((column, row), " ") for column in range(last + 1))]
    yield [Styled(f"{'':{margin}} └{'─' * columns}", "dim")]
    space = max(columns - len(curve.first) - len(curve.last), 1)
    yield [Styled(f"{'':{margin}}  {curve.first}{' ' * space}{curve.last}", "dim")]


class _Places:
    """Where points are, in dots from the upper left corner."""

    def __init__(self, curve: Curve, columns: int) -> None:
        finite = [y for y in curve.y if math.isfinite(y)]
        self._curve = curve
        self._left, self._right = min(curve.x), max(curve.x)
        self._low, self._high = min(finite), max(finite)
        self._width, self._height = 2 * columns - 1, 4 * _ROWS - 1

    def dot(self, index: int) -> Dot:
        """Of a point, whose value is finite."""
        across = _share(self._curve.x[index], self._left, self._right)
        up = _share(self._curve.y[index], self._low, self._high)
        return round(across * self._width), round((1 - up) * self._height)

    def cell(self, index: int) -> Dot:
        """The character that the dot of a point is in."""
        x, y = self.dot(index)
        return x // 2, y // 4


def _share(value: float, low: float, high: float) -> float:
    """Where a value is between two others; halves, as from -1.8e308 to 1.8e308 is more than a float holds."""
    span = high / 2 - low / 2
    return (value / 2 - low / 2) / span if span else 0.5


def _cells(curve: Curve, place: _Places) -> dict[Dot, str]:
    bits: defaultdict[Dot, int] = defaultdict(int)
    for x, y in _dots(curve, place):
        bits[x // 2, y // 4] |= _DOTS[y % 4][x % 2]
    return {cell: chr(_BLANK + found) for cell, found in bits.items()}


def _dots(curve: Curve, place: _Places) -> Iterator[Dot]:
    """The dots of the points and between them. Points above each other, often thousands, are one stroke."""
    stroke: _Stroke | None = None
    for index, value in enumerate(curve.y):
        here = place.dot(index) if math.isfinite(value) else None
        if stroke is not None and here is not None and here[0] == stroke.x:
            stroke = _Stroke(stroke.x, min(stroke.top, here[1]), max(stroke.bottom, here[1]), here[1])
            continue
        if stroke is not None:
            yield from _between((stroke.x, stroke.top), (stroke.x, stroke.bottom))
            yield from _between((stroke.x, stroke.end), here) if here is not None else ()
        stroke = _Stroke(here[0], here[1], here[1], here[1]) if here is not None else None
    if stroke is not None:
        yield from _between((stroke.x, stroke.top), (stroke.x, stroke.bottom))


class _Stroke(NamedTuple):
    """Points above each other, and where the last of them is."""

    x: int
    top: int
    bottom: int
    end: int


def _between(one: Dot, other: Dot) -> Iterator[Dot]:
    """The dots of a straight line."""
    across, down = other[0] - one[0], other[1] - one[1]
    count = max(abs(across), abs(down), 1)
    for i in range(count + 1):
        yield one[0] + round(across * i / count), one[1] + round(down * i / count)
