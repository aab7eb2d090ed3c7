"""The search for traces: a page of it, in the API of MLflow 3 or in the one that servers before it have."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from operator import itemgetter
from typing import Any

from mlmeta.errors import UnknownCallError
from mlmeta.schema import TRACES, Skipped, Trace
from mlmeta.stores.api import trace_json
from mlmeta.stores.api.connection import Connection, unreadable
from mlmeta.stores.api.paging import Search

SEARCH = "/api/3.0/mlflow/traces/search"
OLD_SEARCH = "/api/2.0/mlflow/traces"
PAGE = 500
"""What the search gives at once, at most; the one of MLflow 2 gives no more than 100 unless it is asked."""
_ORDER = ["timestamp_ms ASC"]
"""Both break ties by the trace's id."""
SHOWN = {"metadata": 250, "tags": 4096}
"""Characters of a value that MLflow's API shows; its columns hold 8,000."""
NOT_SHOWN = frozenset(f"trace {field}" for field in SHOWN)
"""Words for what of a trace is not shown to its end."""
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
        return trace_json.old_trace(found.told) if self._is_old else trace_json.trace(found.told)

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
        for (field, key), some in groupby(suspects, key=itemgetter(0, 1)):
            ids = [trace_id for _, _, trace_id in some]
            what = f"trace {field}"
            longer = self._connection.read_or_skip(what, key, partial(self._longer, experiment_id, field, key, ids))
            for trace_id in ids if isinstance(longer, Skipped) else longer:
                shown = SHOWN[field]
                reason = f"its value has more than the {shown} characters that MLflow's API shows"
                if isinstance(longer, Skipped):
                    reason = f"its value may have {reason.removeprefix('its value has ')}"
                yield Skipped(kind=what, id=f"{trace_id}/{key}", reason=reason)

    def _longer(self, experiment_id: str, field: str, key: str, trace_ids: list[str]) -> list[str]:
        if "`" in key:
            raise ValueError("a filter can't have such a name")
        ids = ", ".join(f"'{trace_id}'" for trace_id in trace_ids)
        name = "metadata" if field == "metadata" else "tag"
        wanted = f"attributes.request_id IN ({ids}) AND {name}.`{key}` LIKE '{'_' * (SHOWN[field] + 1)}%'"
        found = self._filtered([experiment_id], wanted, None, PAGE)
        return [one.trace_id for one in found if one.trace_id in trace_ids]


def _suspects(trace: Trace) -> Iterator[tuple[str, str, str]]:
    for field, shown in SHOWN.items():
        values: Mapping[str, str] = getattr(trace, field)
        for key, value in values.items():
            if len(value) == shown and not value.endswith(_CUT):
                yield field, key, trace.trace_id


def _paged(reply: dict[str, Any], key: str) -> Any:
    from mlflow.store.entities import PagedList

    found = [Found(str(info.get(key, "")), info) for info in reply.get("traces", [])]
    return PagedList(found, reply.get("next_page_token"))
