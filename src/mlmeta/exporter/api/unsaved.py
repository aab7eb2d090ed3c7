"""What the store has and a snapshot does not hold yet: named, never dropped silently."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from mlmeta.exporter.api.file_store import FileStore
from mlmeta.schema import Skipped
from mlmeta.tracking.connection import Connection, unreadable

_EXPERIMENTS_PER_CALL = 100


def read_unsaved(connection: Connection, experiment_ids: list[str]) -> Iterator[Skipped]:
    """A `Skipped` for traces, where there are any. Servers and clients that don't know them have none."""
    for start in range(0, len(experiment_ids), _EXPERIMENTS_PER_CALL):
        if _found(_any_trace, connection, experiment_ids[start : start + _EXPERIMENTS_PER_CALL]):
            reason = "the store has some, and this version of mlmeta does not save them"
            yield Skipped(kind="traces", id="*", reason=reason)
            return


def _found(any_of: Callable[[Connection, list[str]], Any], connection: Connection, ids: list[str]) -> bool:
    try:
        return len(any_of(connection, ids)) > 0
    except unreadable():  # this client or server doesn't know the kind
        connection.check()
        return False


def _any_trace(connection: Connection, ids: list[str]) -> Any:
    if connection.kind == "files":
        return FileStore(connection).traces(ids)
    search = connection.client.search_traces
    try:
        return search(locations=ids, max_results=1, include_spans=False)
    except TypeError:  # MLflow before 3.3 calls them experiments
        return search(experiment_ids=ids, max_results=1)
