"""What a notebook shows of a result: HTML in which nothing is markup but our own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice

from mlmeta.visible import visible

ROWS_SHOWN = 100

Cell = str | int | float | None
Row = Mapping[str, Cell]


def page(title: str, line: str, *parts: str) -> str:
    """A result.

    Args:
        title: what it is.
        line: what there is to say of it, in one line.
        parts: HTML below that, see `table` and `items`.
    """
    return f"<div><p><b>{_text(title)}</b> {_text(line)}</p>{''.join(parts)}</div>"


def table(rows: Iterable[Row]) -> str:
    """A table; empty: there are no rows.

    Args:
        rows: cells by column, each row with the columns of the first; more than `ROWS_SHOWN` are counted only.
    """
    rest = iter(rows)
    shown = list(islice(rest, ROWS_SHOWN))
    if not shown:
        return ""
    head = "".join(f"<th>{_text(column)}</th>" for column in shown[0])
    body = "".join(f"<tr>{''.join(map(_cell, row.values()))}</tr>" for row in shown)
    left = sum(1 for _ in rest)
    more = f"<p>… and {left:,} more</p>" if left else ""
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{more}"


def items(title: str, texts: Sequence[str]) -> str:
    """A list with a title; empty: there is nothing on it."""
    if not texts:
        return ""
    shown = "".join(f"<li>{_text(text)}</li>" for text in texts[:ROWS_SHOWN])
    more = f"<li>… and {len(texts) - ROWS_SHOWN:,} more</li>" if len(texts) > ROWS_SHOWN else ""
    return f"<p>{_text(title)}</p><ul>{shown}{more}</ul>"


def _cell(value: Cell) -> str:
    if isinstance(value, int):
        return f'<td style="text-align: right">{value:,}</td>'
    return f'<td style="text-align: left">{"" if value is None else _text(str(value))}</td>'


def _text(words: str) -> str:
    """Words that somebody else may have chosen."""
    from html import escape  # not at the top: its table of entities is big, and hardly anybody wants one

    return escape(visible(words))
