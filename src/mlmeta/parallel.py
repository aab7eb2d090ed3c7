"""Work handed to an executor, with a bounded number of batches under way."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

T = TypeVar("T")
U = TypeVar("U")


def ordered_map(
    executor: Executor, function: Callable[[T], U], items: Iterable[T], ahead: int
) -> Generator[U, None, None]:
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


def read_ahead(items: Iterator[T], depth: int) -> Generator[T, None, None]:
    """The items of an iterator, read in a thread of its own.

    Worth its while where reading mostly waits, for a database server, say.

    Args:
        items: used by that thread alone from now on.
        depth: how many are read ahead of the caller, at most.

    Raises:
        Exception: what the iterator raised, when its turn comes.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="mlmeta-ahead") as reader:

        def ask() -> Future[list[T]]:
            return reader.submit(lambda: list(islice(items, 1)))

        waiting = deque(ask() for _ in range(depth))
        try:
            while found := waiting.popleft().result():
                waiting.append(ask())
                yield found[0]
        finally:
            for future in waiting:
                future.cancel()
