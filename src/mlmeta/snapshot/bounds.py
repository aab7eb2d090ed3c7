"""How much JSON is read at once: somebody else may have written it, and memory is to stay within 300 MiB.

A writer keeps to the same bounds, and names what does not fit, so that all it writes can be read.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mlmeta.schema import Kind

LINE = 24 << 20
"""Bytes of a record. The biggest value that MLflow takes is a dataset's profile of 16 MiB; a history of 10,000 points,
the most that a line has, stays below 1 MiB; a model with 40,000 versions has about 16 MiB. Parsed, a text
takes up to four times its size."""
LEGACY = 64 << 20
"""Bytes of a data file of the older script, which is one text."""
SUMMARY = 16 << 20
"""Bytes of a summary. What could not be saved takes half of it at most."""
VALUES = 600_000
"""Values in one text: as Python objects, they take twenty times their size."""
LEGACY_VALUES = 750_000
"""The same for a file of the older script, which has no histories."""
OBJECTS = 150_000
"""Objects in one text: such as versions of a model, or metrics of a run."""
SMALL = 1 << 20
"""A text of so many bytes has no room for too much."""


def of(kind: Kind[Any]) -> int:
    """Bytes of a record of a kind."""
    return kind.longest or LINE


def excess(text: bytes, most: int = LINE, values: int = VALUES) -> str:
    """What is too much about a JSON text; empty: it may be parsed.

    Args:
        text: valid or not.
        most: bytes.
        values: how many.
    """
    if len(text) <= SMALL:
        return ""
    if len(text) > most:
        return f"it has more than {most:,} bytes"
    commas, braces = _structure(text)
    if commas > values:
        return f"it has more than {values:,} values"
    return f"it has more than {OBJECTS:,} objects" if braces > OBJECTS else ""


def _structure(text: bytes) -> tuple[int, int]:
    """The commas and opening braces of a JSON text, but for those in strings: a profile has many."""
    commas = braces = in_string = 0
    for piece in _pieces(text):
        parts = piece.replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"')
        outside = b"".join(parts[in_string::2])
        commas += outside.count(b",")
        braces += outside.count(b"{")
        in_string ^= ~len(parts) & 1
    return commas, braces


def _pieces(text: bytes) -> Iterator[bytes]:
    """A text in small pieces, none of which ends within an escape: copies of the whole would take its size each."""
    start = 0
    while start < len(text):
        end = start + SMALL
        while text[end - 1 : end] == b"\\":
            end += 1
        yield text[start:end]
        start = end
