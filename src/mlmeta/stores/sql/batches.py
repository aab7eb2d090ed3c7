"""Small helpers for reading in batches."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, TypeVar

T = TypeVar("T")

BATCH = 500
"""Records whose rows are looked up together: below every database's limit of parameters."""


def batches(items: Iterable[T], size: int = BATCH) -> Iterator[list[T]]:
    """Lists of at most `size` items."""
    source = iter(items)
    while batch := list(islice(source, size)):
        yield batch


def grouped(rows: Iterable[Any]) -> dict[Any, list[Any]]:
    """Rows by their first column, without it."""
    groups: dict[Any, list[Any]] = defaultdict(list)
    for first, *rest in rows:
        groups[first].append(rest)
    return groups
