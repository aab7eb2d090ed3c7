"""What is within what: runs within runs, spans within spans."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")


def nested(items: Sequence[T], own: Callable[[T], str], parent: Callable[[T], str | None]) -> Iterator[tuple[int, T]]:
    """Each item once, followed by those within it, with its depth.

    One whose parent is not among them stands at the top; so does one of several that are within each other.

    Args:
        items: in the order that those within the same one have.
        own: the id of an item.
        parent: the id of the item that it is within; None: of none.
    """
    known = {own(item) for item in items}
    within: defaultdict[str | None, list[T]] = defaultdict(list)
    for item in items:
        above = parent(item)
        within[above if above in known else None].append(item)
    seen: set[str] = set()
    for top in (*within[None], *items):
        waiting = [(0, top)]
        while waiting:
            depth, item = waiting.pop()
            if own(item) not in seen:
                seen.add(own(item))
                yield depth, item
                waiting += ((depth + 1, child) for child in reversed(within[own(item)]))
