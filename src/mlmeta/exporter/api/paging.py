"""Pages of MLflow's search calls."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from typing import Any


def pages(search: Callable[[str | None], Any]) -> Iterator[Any]:
    """All pages of a search.

    Args:
        search: takes a page token (None: the first page) and returns an MLflow `PagedList`.
    """
    token = None
    while True:
        page = search(token)
        yield page
        token = page.token
        if not token:
            return


def pages_ahead(search: Callable[[str | None], Any], executor: Executor) -> Iterator[Any]:
    """Like `pages`, but the first page is asked for at once, and the next one while the caller works on this one."""
    return _from(executor.submit(search, None), search, executor)


def _from(future: Future[Any], search: Callable[[str | None], Any], executor: Executor) -> Iterator[Any]:
    while True:
        page = future.result()
        if page.token:
            future = executor.submit(search, page.token)
        yield page
        if not page.token:
            return
