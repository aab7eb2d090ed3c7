"""MLflow's search calls: their pages up to an end, and what is on them as records, in order and each once.

A server may fail for one thing or for all, give pages for ever, or give the same thing twice.
"""

from __future__ import annotations

import base64
import itertools
import json
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from mlmeta.errors import ReplyError
from mlmeta.schema import Record, Skipped
from mlmeta.stores.api.bounded import impatient
from mlmeta.stores.api.connection import Connection, unreadable

R = TypeVar("R", bound=Record)

_MOST_LOST = 10
"""Things in a row that can't be read, until what follows them is given up."""
_MOST_EMPTY = 100
"""Pages in a row with nothing on them."""
_LONGEST = 75.0
"""Seconds in which a page is narrowed down."""
_HOPELESS = {401, 403, 404, 405, 501}
"""Statuses that smaller pages don't change."""


@dataclass(frozen=True)
class Page:
    """Some of what a search found.

    Args:
        items: MLflow's entities.
        token: where the next page begins; empty: this is the last one.
    """

    items: list[Any]
    token: str | None = None


class _Guard:
    """Sees that pages lead somewhere.

    Args:
        key: what tells an item from others.
    """

    def __init__(self, key: Callable[[Any], Any]) -> None:
        self._key = key
        self._seen: set[int] = set()
        self._empty = 0

    def must_advance(self, page: Page) -> None:
        """Take the next page.

        Raises:
            ReplyError: it, or its token, was there before.
        """
        if not page.token:
            return
        self._empty = 0 if page.items else self._empty + 1
        marks = {hash(page.token)}
        if page.items:
            marks.add(hash(tuple(map(self._key, page.items))))
        if marks & self._seen or self._empty > _MOST_EMPTY:
            raise ReplyError("the server returns the same page again and again")
        self._seen |= marks


def pages(ask: Callable[[str | None], Any], key: Callable[[Any], Any]) -> Iterator[Page]:
    """All pages of a search.

    Args:
        ask: takes a page token (None: the first page) and returns an MLflow `PagedList`.
        key: what tells an item from others.

    Raises:
        ReplyError: they have no end.
    """
    guard = _Guard(key)
    token = None
    while True:
        found = ask(token)
        page = Page(list(found), found.token)
        yield page
        if not page.token:
            return
        guard.must_advance(page)
        token = page.token


class Search:
    """A search, page by page; one that can't be read is narrowed down to what can't.

    Args:
        connection: to the store.
        ask: the page of a size at a token (None: the first), as an MLflow `PagedList`.
        key: what tells an item from others.
        lost: takes a number, counted from 1 (0: all, None: all that follow), and the reason.
        size: of a page.
    """

    def __init__(
        self,
        connection: Connection,
        ask: Callable[[str | None, int], Any],
        key: Callable[[Any], Any],
        lost: Callable[[int | None, str], Skipped],
        size: int,
    ) -> None:
        self._connection = connection
        self._ask = ask
        self._guard = _Guard(key)
        self._lost = lost
        self._most = self._size = size
        self._failed = False
        self._suspects = 0
        self._in_a_row = 0
        self._any = False
        self._since = time.monotonic()
        self.skipped: list[Skipped] = []

    def __call__(self, token: str | None) -> Page:
        """The page at a token (None: the first)."""
        self._since = time.monotonic()
        while True:
            try:
                with impatient(self._failed):
                    found = self._ask(token, self._size)
                return self._taken(Page(list(found), found.token))
            except unreadable() as error:
                reason = self._connection.failed(error)
                self._failed = True
                if not self._goes_on(error):
                    return self._ended(reason)
                if self._size > 1:
                    self._suspects = self._suspects or self._size
                    self._size = max(1, self._size // 10)
                    continue
                token = self._step_over(token, reason)
                if token is None or self._in_a_row >= _MOST_LOST:
                    return self._ended(reason)

    def _goes_on(self, error: Exception) -> bool:
        status = getattr(error, "get_http_status_code", lambda: None)()
        return status not in _HOPELESS and time.monotonic() - self._since < _LONGEST

    def _taken(self, page: Page) -> Page:
        self._connection.succeeded()
        self._suspects -= self._size
        if self._in_a_row or self._suspects <= 0:
            self._size, self._suspects = self._most, 0
        self._in_a_row = 0
        self._any = self._any or bool(page.items)
        try:
            self._guard.must_advance(page)
        except ReplyError as error:
            return self._ended(str(error))
        return page

    def _step_over(self, token: str | None, reason: str) -> str | None:
        """The token behind an item that can't be read; None where tokens are no offsets, so that nothing can follow."""
        offset = _offset(token)
        if offset is None:
            return None
        self._in_a_row += 1
        self.skipped.append(self._lost(offset + 1, reason))
        return base64.b64encode(json.dumps({"offset": offset + 1}).encode()).decode()

    def _ended(self, reason: str) -> Page:
        if not self._any:  # nothing at all: one line says it
            self.skipped.clear()
        self.skipped.append(self._lost(None if self._any else 0, reason))
        return Page([])


def found_by(search: Search) -> Iterator[Page]:
    """All pages of a search."""
    token = None
    while True:
        page = search(token)
        yield page
        if not page.token:
            return
        token = page.token


def pages_ahead(search: Search, executor: Executor) -> Iterator[Page]:
    """Like `found_by`, but the first page is asked for at once, and the next one while the caller works on this one."""
    return _from(executor.submit(search, None), search, executor)


def _from(future: Future[Page], search: Search, executor: Executor) -> Iterator[Page]:
    while True:
        page = future.result()
        if page.token:
            future = executor.submit(search, page.token)
        yield page
        if not page.token:
            return


def _offset(token: str | None) -> int | None:
    """The offset that MLflow's own stores put into a page token (`SearchUtils.create_page_token`)."""
    if token is None:
        return 0
    try:
        return int(json.loads(base64.b64decode(token))["offset"])
    except (ValueError, LookupError, TypeError, RecursionError):
        return None


def name_filter(name: str) -> str:
    """A filter for a name. MLflow's filters know no escapes: an odd name is looked for among all."""
    if "\\" in name:
        return ""
    if "'" not in name:
        return f"name = '{name}'"
    return f'name = "{name}"' if '"' not in name else ""


@dataclass
class Sieve(Generic[R]):
    """Takes what a store gives of one kind, experiment after experiment, and lets through what a snapshot can take.

    Args:
        connection: to the store.
        kind: for what is named.
        convert: makes a record of an entity.
        key: a record's id.
        order: a record's place within its experiment.
    """

    connection: Connection
    kind: str
    convert: Callable[[Any], R]
    key: Callable[[R], str]
    order: Callable[[R], Any]
    _known: set[int] = field(default_factory=set)

    def sift(self, entities: Iterable[Any], experiment_id: str) -> Iterator[R | Skipped]:
        """The records of an experiment that come by time, in order.

        Servers break ties in their database's own way. And they page by offset: what appears in front of the page just
        read pushes others onto the next page a second time.

        Args:
            entities: as they come.
            experiment_id: whose they have to be.
        """
        last = None
        for _, ties in itertools.groupby(self._converted(entities, experiment_id), key=self._time):
            for item in sorted(ties, key=self._place):
                if isinstance(item, Skipped):
                    yield item
                    continue
                again = hash(self.key(item)) in self._known
                if last is not None and not last < self.order(item):
                    if not again:
                        yield self._named(item, "the server returned it out of order")
                elif again:
                    yield self._named(item, "the server returned it twice, in two places")
                else:
                    last = self.order(item)
                    self._known.add(hash(self.key(item)))
                    yield item

    def _converted(self, entities: Iterable[Any], experiment_id: str) -> Iterator[R | Skipped]:
        for entity in entities:
            try:
                record = self.convert(entity)
            except unreadable() as error:
                yield Skipped(kind=self.kind, id=_id_of(entity), reason=self.connection.reason(error))
                continue
            where = getattr(record, "experiment_id", experiment_id)
            if where == experiment_id:
                yield record
            else:
                yield self._named(record, f"the server returned it as one of experiment {experiment_id}, not {where}")

    def _time(self, item: R | Skipped) -> Any:
        return None if isinstance(item, Skipped) else self.order(item)[:-1]

    def _place(self, item: R | Skipped) -> Any:
        return () if isinstance(item, Skipped) else self.order(item)

    def _named(self, record: R, reason: str) -> Skipped:
        return Skipped(kind=self.kind, id=self.key(record), reason=reason)


def _id_of(entity: Any) -> str:
    info = getattr(entity, "info", entity)
    found = (getattr(info, name, None) for name in ("run_id", "model_id", "experiment_id", "name"))
    return str(next(filter(None, found), "without an id"))
