"""Traces through the API, each followed by its spans: in a snapshot's order, with many requests at once."""

from __future__ import annotations

import itertools
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from functools import cached_property, partial

from mlmeta.schema import SPANS, TRACES, Skipped, SpanLine, Trace
from mlmeta.stores.api.connection import Connection, release
from mlmeta.stores.api.pace import Pace
from mlmeta.stores.api.paging import Search, Sieve
from mlmeta.stores.api.spans import Spans, read_alone, read_batch, shows_spans
from mlmeta.stores.api.trace_search import PAGE, TraceSearch
from mlmeta.stores.base import Base
from mlmeta.stores.source import SourceItem

_EXPERIMENTS_PER_CALL = 100
_EXPERIMENTS_AHEAD = 4
_BATCH = 8
"""Traces whose spans are asked for one after the other: enough batches for all threads, even of a few traces."""
_BATCHES_AHEAD = 3
"""For each request that may be under way."""
_BATCH_BYTES = 1 << 20
"""Of spans of the base in a batch."""
IN_DATABASE = "TRACKING_STORE"


@dataclass
class _Batch:
    """Some traces, and what else came between them.

    Args:
        items: in order.
        wanted: the traces whose spans are asked for.
        known: the spans that come from the base, by trace.
        size: bytes of these.
    """

    items: list[Trace | Skipped] = field(default_factory=list)
    wanted: list[Trace] = field(default_factory=list)
    known: dict[str, Sequence[SpanLine]] = field(default_factory=dict)
    size: int = 0

    def add(self, item: Trace | Skipped, base: Base | None) -> None:
        """Take the next item."""
        self.items.append(item)
        if not isinstance(item, Trace) or item.spans_location != IN_DATABASE:
            return
        known = base.spans(item) if base is not None else None
        if known is None:
            self.wanted.append(item)
        else:
            self.known[item.trace_id] = known
            self.size += sum(len(span.line) for span in known)

    @property
    def is_full(self) -> bool:
        """Whether it is enough for one round of requests, or for memory."""
        return len(self.wanted) == _BATCH or len(self.items) == PAGE or self.size > _BATCH_BYTES


class TraceReader:
    """All traces of some experiments.

    Args:
        connection: to the server.
        executor: for the requests for spans.
        threads: for the searches.
        pace: of the requests for spans.
        base: a snapshot whose spans need not be read again where nothing can have been added.
    """

    def __init__(
        self, connection: Connection, executor: Executor, threads: Executor, pace: Pace, base: Base | None = None
    ) -> None:
        self._connection = connection
        self._executor = executor
        self._threads = threads
        self._pace = pace
        self._base = base
        self.locations: Counter[str] = Counter()
        """How many of the traces that were read have their spans where."""
        self._search = TraceSearch(connection)
        self._sieve = Sieve(connection, TRACES, TRACES.one, self._search.record)

    def read(self, experiment_ids: list[str], *, spans: bool) -> Iterator[SourceItem]:
        """The traces, experiment after experiment; none where the server knows no such thing.

        Args:
            experiment_ids: in a snapshot's order.
            spans: whether these are read.

        Raises:
            ConnectionFailedError: the server is gone.
        """
        if self._connection.kind != "server":
            return
        for start in range(0, len(experiment_ids), _EXPERIMENTS_PER_CALL):
            some = experiment_ids[start : start + _EXPERIMENTS_PER_CALL]
            if self._search.knows(some):
                found = self._traces(some)
                yield from self._with_spans(found) if spans and self._shows_spans else found
        hidden = self.locations[IN_DATABASE] if spans and not self._shows_spans else 0
        if hidden:
            reason = f"MLflow {self._version} shows those of {hidden:,} traces by no call: back up its database"
            yield Skipped(kind=SPANS.many, id="*", reason=reason)

    @cached_property
    def _version(self) -> str | None:
        return self._connection.server_version()

    @property
    def _shows_spans(self) -> bool:
        return shows_spans(release(self._version))

    def _traces(self, experiment_ids: list[str]) -> Iterator[Trace | Skipped]:
        """The traces, the first page of several experiments asked for ahead."""
        begun: deque[tuple[str, Search, Iterator[Trace | Skipped]]] = deque()
        for experiment_id in experiment_ids:
            search = self._search.of(experiment_id)
            begun.append((experiment_id, search, self._sieve.sift(search.ahead(self._threads), experiment_id)))
            if len(begun) > _EXPERIMENTS_AHEAD:
                yield from self._whole(*begun.popleft())
        while begun:
            yield from self._whole(*begun.popleft())

    def _whole(self, experiment_id: str, search: Search, found: Iterator[Trace | Skipped]) -> Iterator[Trace | Skipped]:
        """An experiment's traces, and what the server does not show of them."""
        while some := list(itertools.islice(found, PAGE)):
            yield from some
            traces = [one for one in some if isinstance(one, Trace)]
            self.locations.update(trace.spans_location for trace in traces)
            yield from self._search.cut(experiment_id, traces)
        yield from search.skipped

    def _with_spans(self, items: Iterable[Trace | Skipped]) -> Iterator[SourceItem]:
        read = partial(read_batch, self._connection, self._pace)
        waiting: deque[tuple[_Batch, Future[list[Spans]]]] = deque()
        for batch in _batches(items, self._base):
            waiting.append((batch, self._executor.submit(read, [trace.trace_id for trace in batch.wanted])))
            if len(waiting) > _BATCHES_AHEAD * self._pace.most:
                yield from self._finished(*waiting.popleft())
        while waiting:
            yield from self._finished(*waiting.popleft())

    def _finished(self, batch: _Batch, asked: Future[list[Spans]]) -> Iterator[SourceItem]:
        found = {**batch.known, **dict(zip((trace.trace_id for trace in batch.wanted), asked.result(), strict=True))}
        for item in batch.items:
            yield item
            if isinstance(item, Trace) and item.trace_id in found:
                spans = found.pop(item.trace_id)
                spans = read_alone(self._connection, self._pace, item.trace_id) if spans is None else spans
                yield from [spans] if isinstance(spans, Skipped) else spans


def _batches(items: Iterable[Trace | Skipped], base: Base | None) -> Iterator[_Batch]:
    batch = _Batch()
    for item in items:
        batch.add(item, base)
        if batch.is_full:
            yield batch
            batch = _Batch()
    if batch.items:
        yield batch
