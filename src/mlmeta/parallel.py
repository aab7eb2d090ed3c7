"""Work handed to an executor, with a bounded number of batches under way."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from typing import TypeVar

T = TypeVar("T")
U = TypeVar("U")


def ordered_map(executor: Executor, function: Callable[[T], U], items: Iterable[T], ahead: int) -> Iterator[U]:
    """Like `executor.map`, but `items` is read lazily: at most `ahead` calls are under way or waiting.

    Args:
        executor: runs the calls.
        function: called once for each item.
        items: read only as far as needed.
        ahead: at least 1.

    Yields:
        The results, in the order of the items.

    Raises:
        Exception: what a call raised, when its turn comes; calls that have not begun are cancelled.
    """
    waiting: deque[Future[U]] = deque()
    try:
        for item in items:
            waiting.append(executor.submit(function, item))
            if len(waiting) >= ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()
