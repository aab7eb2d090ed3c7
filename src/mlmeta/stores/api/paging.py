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
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

from mlmeta.errors import ReplyError
from mlmeta.schema import Kind, Record, Skipped
from mlmeta.stores.api.bounded import impatient
from mlmeta.stores.api.connection import Connection, unreadable

R = TypeVar("R", bound=Record)

PAGE = 1000
"""What most searches give at once, at most."""
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
    """Some of what a search finds.

    Args:
        items: MLflow's entities.
        token: where the next page begins; empty: this is the last one.
    """

    items: list[Any]
    token: str | None = None

    @classmethod
    def of(cls, found: Any) -> Page:
        """From an MLflow `PagedList`."""
        return cls(list(found), found.token)


class _Guard:
    """Sees that pages lead somewhere.

    Args:
        key: what tells an entity from others.
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
        signs = {hash(page.token)}
        if page.items:
            signs.add(hash(tuple(map(self._key, page.items))))
        if signs & self._seen or self._empty > _MOST_EMPTY:
            raise ReplyError("the server returns the same page again and again")
        self._seen |= signs


def entities_of(ask: Callable[[str | None], Any], key: Callable[[Any], Any]) -> Iterator[Any]:
    """All that a search finds.

    Args:
        ask: takes a page token (None: the first page) and returns an MLflow `PagedList`.
        key: what tells an entity from others.

    Raises:
        ReplyError: it has no end.
    """
    guard, page = _Guard(key), Page.of(ask(None))
    yield from page.items
    while page.token:
        guard.must_advance(page)
        page = Page.of(ask(page.token))
        yield from page.items


class Search:
    """A search that goes on after what can't be read, and narrows that down.

    Args:
        connection: to the store.
        kind: of what is searched for, in words.
        ask: the page of a size at a token (None: the first), as an MLflow `PagedList`.
        key: what tells an entity from others.
        lost: the name of what can't be read, made of ``all``, ``the rest`` or such as ``number 7``.
        size: of a page.
    """

    def __init__(
        self,
        connection: Connection,
        kind: str,
        ask: Callable[[str | None, int], Any],
        key: Callable[[Any], Any],
        lost: Callable[[str], str],
        size: int,
    ) -> None:
        self._kind = kind
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

    def __iter__(self) -> Iterator[Any]:
        """All that is found; what can't be read is in `skipped` then."""
        page = self._page(None)
        yield from page.items
        while page.token:
            page = self._page(page.token)
            yield from page.items

    def ahead(self, executor: Executor) -> Iterator[Any]:
        """The same, but the first page is asked for at once, and the next one while the caller works on this one."""
        return self._from(executor.submit(self._page, None), executor)

    def _from(self, future: Future[Page], executor: Executor) -> Iterator[Any]:
        while True:
            page = future.result()
            if page.token:
                future = executor.submit(self._page, page.token)
            yield from page.items
            if not page.token:
                return

    def _page(self, token: str | None) -> Page:
        """The page at a token (None: the first)."""
        self._since = time.monotonic()
        while True:
            try:
                with impatient(self._failed):
                    found = self._ask(token, self._size)
                return self._taken(Page.of(found))
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
        """The token behind an item that can't be read; None where tokens are not offsets."""
        offset = _offset(token)
        if offset is None:
            return None
        self._in_a_row += 1
        self._skip(f"number {offset + 1}", reason)
        return base64.b64encode(json.dumps({"offset": offset + 1}).encode()).decode()

    def _ended(self, reason: str) -> Page:
        if not self._any:  # nothing at all: one line says it
            self.skipped.clear()
        self._skip("the rest" if self._any else "all", reason)
        return Page([])

    def _skip(self, place: str, reason: str) -> None:
        self.skipped.append(Skipped(kind=self._kind, id=self._lost(place), reason=reason))


def _offset(token: str | None) -> int | None:
    """The offset that MLflow's own stores put into a page token (`SearchUtils.create_page_token`)."""
    if token is None:
        return 0
    try:
        return int(json.loads(base64.b64decode(token))["offset"])
    except (ValueError, LookupError, TypeError, RecursionError):
        return None


def experiments_page(connection: Connection, token: str | None, size: int = PAGE) -> Any:
    """A page of a search for all experiments, deleted ones included."""
    from mlflow.entities import ViewType

    return connection.client.search_experiments(ViewType.ALL, size, page_token=token)


def runs_page(connection: Connection, experiment_ids: list[str], token: str | None, size: int = PAGE) -> Any:
    """A page of a search for all runs of some experiments, deleted ones included, by their time."""
    from mlflow.entities import ViewType

    order = ["attributes.start_time ASC"]
    return connection.client.search_runs(experiment_ids, "", ViewType.ALL, size, order_by=order, page_token=token)


def name_filter(name: str) -> str:
    """A filter for a name. MLflow's filters know no escapes: an odd name is looked for among all."""
    if "\\" in name:
        return ""
    if "'" not in name:
        return f"name = '{name}'"
    return f'name = "{name}"' if '"' not in name else ""


class Sieve(Generic[R]):
    """Lets through what a snapshot can take of a kind: records in order, each once, experiment after experiment.

    Args:
        connection: to the store.
        kind: of the records; each belongs to an experiment.
        word: for one that is skipped.
        convert: makes a record of an entity.
    """

    def __init__(self, connection: Connection, kind: Kind[R], word: str, convert: Callable[[Any], R]) -> None:
        self._connection = connection
        self._kind = kind
        self._word = word
        self._convert = convert
        self._known: set[int] = set()

    def sift(self, entities: Iterable[Any], experiment_id: str) -> Iterator[R | Skipped]:
        """The records of an experiment that come by time, in order.

        Servers break ties in their database's own way. And they page by offset: what appears in front of the page just
        read pushes others onto the next page a second time.

        Args:
            entities: as they come.
            experiment_id: whose they have to be.
        """
        last = None
        records = (self._record(entity, experiment_id) for entity in entities)
        for _, ties in itertools.groupby(records, key=self._time):
            for item in sorted(ties, key=self._order):
                if isinstance(item, Skipped):
                    yield item
                    continue
                again = hash(self._kind.key(item)) in self._known
                if last is not None and not last < self._order(item):
                    if not again:
                        yield self._skipped(item, "the server returned it out of order")
                elif again:
                    yield self._skipped(item, "the server returned it twice, in two places")
                else:
                    last = self._order(item)
                    self._known.add(hash(self._kind.key(item)))
                    yield item

    def _record(self, entity: Any, experiment_id: str) -> R | Skipped:
        found = self._connection.read_or_skip(self._word, _id_of(entity), partial(self._convert, entity))
        if isinstance(found, Skipped) or self._kind.experiment is None:
            return found
        where = self._kind.experiment(found)
        if where != experiment_id:
            return self._skipped(found, f"the server returned it as one of experiment {experiment_id}, not {where}")
        return found

    def _order(self, item: R | Skipped) -> tuple[Any, ...]:
        """The order of a record within its experiment: its time, and at last its id."""
        return () if isinstance(item, Skipped) else self._kind.order(item)[-1]

    def _time(self, item: R | Skipped) -> Any:
        return None if isinstance(item, Skipped) else self._order(item)[:-1]

    def _skipped(self, record: R, reason: str) -> Skipped:
        return Skipped(kind=self._word, id=self._kind.key(record), reason=reason)


def _id_of(entity: Any) -> str:
    info = getattr(entity, "info", entity)
    found = (getattr(info, name, None) for name in ("run_id", "model_id", "trace_id", "experiment_id", "name"))
    return str(next(filter(None, found), "without an id"))
