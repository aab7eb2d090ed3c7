"""Traces through the API, each followed by its spans: in a snapshot's order, with many requests at once.

The search for them is that of MLflow 3, or the one that servers before it have.
"""

from __future__ import annotations

import itertools
from collections import Counter, deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import groupby
from operator import itemgetter
from typing import Any

from mlmeta.errors import UnknownCallError
from mlmeta.schema import SPANS, TRACES, Skipped, SpanLine, Trace
from mlmeta.stores.api import trace_records
from mlmeta.stores.api.connection import Connection, release, unreadable
from mlmeta.stores.api.pace import Pace
from mlmeta.stores.api.paging import Search, Sieve
from mlmeta.stores.api.spans import Spans, read_alone, read_batch, shows_spans
from mlmeta.stores.api.trace_records import SHOWN
from mlmeta.stores.base import Base
from mlmeta.stores.source import SourceItem

SEARCH = "/api/3.0/mlflow/traces/search"
OLD_SEARCH = "/api/2.0/mlflow/traces"
PAGE = 500
"""What the search gives at once, at most; the one of MLflow 2 gives no more than 100 unless it is asked."""
_ORDER = ["timestamp_ms ASC"]
"""Both break ties by the trace's id."""
_CUT = "..."
"""The end of a value that was cut by whoever wrote it (`mlflow.traceInputs`): it has no more."""


@dataclass(frozen=True)
class Found:
    """What a search says of a trace.

    Args:
        trace_id: its id; empty: it has none.
        told: all that there is.
    """

    trace_id: str
    told: Mapping[str, Any]


class TraceSearch:
    """The searches of a server.

    Args:
        connection: to the server.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._is_old = False

    def knows(self, experiment_ids: list[str]) -> bool:
        """Whether the server has traces at all, as far as it says so for one experiment or several.

        Raises:
            ConnectionFailedError: it is gone.
        """
        for self._is_old in (False, True):
            try:
                return bool(self._page(experiment_ids, None, 1))
            except UnknownCallError:
                continue
            except unreadable() as error:
                self._connection.failed(error)
                return True  # asking for each will tell what is wrong
        return False

    def of(self, experiment_id: str) -> Search:
        """The search for all traces of an experiment, by their time; it gives `Found`."""
        return Search(
            self._connection,
            TRACES.many,
            ask=partial(self._page, [experiment_id]),
            key=lambda found: found.trace_id,
            lost=lambda place: f"of experiment {experiment_id}, {place}".removesuffix(", all"),
            size=PAGE,
        )

    def record(self, found: Found) -> Trace:
        """The record of a trace.

        Raises:
            ValueError, LookupError, TypeError, AttributeError: what the server says is not one.
        """
        return trace_records.old_trace(found.told) if self._is_old else trace_records.trace(found.told)

    def _page(self, experiment_ids: list[str], token: str | None, size: int) -> Any:
        if self._is_old:
            params = {"experiment_ids": experiment_ids, "max_results": size, "order_by": _ORDER}
            more: dict[str, Any] = {"params": {**params, **({"page_token": token} if token else {})}}
            return _paged(self._connection.call("GET", OLD_SEARCH, **more), "request_id")
        return self._filtered(experiment_ids, "", token, size)

    def _filtered(self, experiment_ids: list[str], wanted: str, token: str | None, size: int) -> Any:
        where = [{"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": one}} for one in experiment_ids]
        body = {"locations": where, "max_results": size, "order_by": _ORDER, "filter": wanted}
        if token:
            body["page_token"] = token
        return _paged(self._connection.call("POST", SEARCH, json=body), "trace_id")

    def cut(self, experiment_id: str, traces: Collection[Trace]) -> Iterator[Skipped]:
        """The values of tags and metadata of which the server shows only the beginning, each by its name.

        A value of just the length that it shows may be whole. A filter tells: it looks at all of it.

        Args:
            experiment_id: whose the traces are.
            traces: up to a page.
        """
        suspects = sorted(pair for trace in traces for pair in _suspects(trace))
        for (part, key), some in groupby(suspects, key=itemgetter(0, 1)):
            ids = [trace_id for _, _, trace_id in some]
            what = f"trace {part}"
            longer = self._connection.read_or_skip(what, key, partial(self._longer, experiment_id, part, key, ids))
            for trace_id in ids if isinstance(longer, Skipped) else longer:
                shown = SHOWN[part]
                reason = f"its value has more than the {shown} characters that MLflow's API shows"
                if isinstance(longer, Skipped):
                    reason = f"its value may have {reason.removeprefix('its value has ')}"
                yield Skipped(kind=what, id=f"{trace_id}/{key}", reason=reason)

    def _longer(self, experiment_id: str, part: str, key: str, trace_ids: list[str]) -> list[str]:
        if "`" in key:
            raise ValueError("a filter can't have such a name")
        ids = ", ".join(f"'{trace_id}'" for trace_id in trace_ids)
        name = "metadata" if part == "metadata" else "tag"
        wanted = f"attributes.request_id IN ({ids}) AND {name}.`{key}` LIKE '{'_' * (SHOWN[part] + 1)}%'"
        found = self._filtered([experiment_id], wanted, None, PAGE)
        return [one.trace_id for one in found if one.trace_id in trace_ids]


def _suspects(trace: Trace) -> Iterator[tuple[str, str, str]]:
    for part, shown in SHOWN.items():
        values: Mapping[str, str] = getattr(trace, part)
        for key, value in values.items():
            if len(value) == shown and not value.endswith(_CUT):
                yield part, key, trace.trace_id


def _paged(reply: dict[str, Any], key: str) -> Any:
    from mlflow.store.entities import PagedList

    found = [Found(str(info.get(key, "")), info) for info in reply.get("traces", [])]
    return PagedList(found, reply.get("next_page_token"))


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
