"""Two streams of records, walked side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from mlmeta.schema import HISTORIES, HistoryLine, Line, Record, Run, Skipped
from mlmeta.snapshot.reader import RunLines

T = TypeVar("T")


class Merge(Iterator[T]):
    """The expected records of one kind, walked alongside the found ones."""

    def __init__(self, expected: Iterator[T], key: Callable[[T], Any]) -> None:
        self._expected = expected
        self._key = key
        self._following = next(expected, None)
        self._last: Any = None

    def __next__(self) -> T:
        if self._following is None:
            raise StopIteration
        current, self._following = self._following, next(self._expected, None)
        self._last = self._key(current)
        return current

    def up_to(self, item: T) -> tuple[list[T], T | None]:
        """The expected records before `item`, which are missing, and the one that `item` should equal."""
        missing = []
        key = self._key(item)
        while self._following is not None and self._key(self._following) < key:
            missing.append(next(self))
        if self._following is not None and self._key(self._following) == key:
            return missing, next(self)
        return missing, None

    def was_last(self, item: T) -> bool:
        """Whether the last expected record had this key."""
        return bool(self._key(item) == self._last)

    def rest(self) -> Iterator[T]:
        """The expected records that nothing was found for."""
        return self


def with_histories(items: Iterable[Line | Skipped]) -> Iterator[Record | Skipped | RunLines]:
    """Each run together with the histories that follow it, as lines; anything else as it comes."""
    run: Run | None = None
    lines: list[HistoryLine] = []
    for item in items:
        if isinstance(item, HISTORIES):
            lines.append(item.as_line())
            continue
        if run is not None:
            yield RunLines(run, tuple(lines))
            run, lines = None, []
        if isinstance(item, Run):
            run = item
        else:
            yield item
    if run is not None:
        yield RunLines(run, tuple(lines))


def side_by_side(left: Iterable[T], right: Iterable[T], key: Callable[[T], Any]) -> Iterator[tuple[T | None, T | None]]:
    """Two streams in one order: what is on both sides as a pair, what is on one side only beside None.

    Args:
        left: each key once.
        right: likewise.
        key: says the order.
    """
    merge = Merge(iter(left), key)
    for item in right:
        missing, same = merge.up_to(item)
        yield from ((one, None) for one in missing)
        yield same, item
    yield from ((one, None) for one in merge.rest())
