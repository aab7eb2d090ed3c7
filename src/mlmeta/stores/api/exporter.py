"""A source that speaks MLflow's API."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import partial
from typing import Any

from mlmeta.progress import Progress
from mlmeta.schema import EVALUATION_DATASETS, LOGGED_MODELS, RUNS, SPANS, TRACES, Kind, Selection
from mlmeta.stores.api import evaluation_datasets, experiments, logged_models, registered_models, runs
from mlmeta.stores.api.bounded import json_object
from mlmeta.stores.api.connection import Connection, client_version, unreadable
from mlmeta.stores.api.histories import BulkEndpoint, HistoryReader
from mlmeta.stores.api.pace import Pace
from mlmeta.stores.api.traces import TraceReader
from mlmeta.stores.api.unsupported import read_unsupported
from mlmeta.stores.base import Base
from mlmeta.stores.source import SourceInfo, SourceItem, report, selected, spans_elsewhere

DEFAULT_JOBS = 8
_CURRENT_USER = "/api/2.0/mlflow/users/current"
_USER = "/api/2.0/mlflow/users/get"
"""Of servers that don't know the other yet. A user may ask for itself."""

Reader = Callable[[list[str]], Iterator[SourceItem]]
"""Reads what there is of a kind in some experiments, given by their ids, in a snapshot's order."""


class ApiSource:
    """Any store that `MlflowClient` can open.

    Args:
        connection: to the store; it is checked here.
        jobs: requests under way at once.
        executor: runs the batches; not closed here. Whatever runs them elsewhere, pickles them. None: own threads.

    Raises:
        ConnectionFailedError: see `Connection.check`.
    """

    def __init__(self, connection: Connection, jobs: int = DEFAULT_JOBS, executor: Executor | None = None) -> None:
        connection.check()
        self._connection = connection
        self._jobs = jobs
        self._threads = ThreadPoolExecutor(jobs, thread_name_prefix="mlmeta-read")
        self._executor: Executor = executor or self._threads
        self._pace = Pace(jobs)
        self._bulk = BulkEndpoint(connection, self._pace, self._threads)
        self._hidden = ""
        self._locations: Mapping[str, int] = {}
        self._elsewhere: tuple[str, ...] = ()
        self.info = SourceInfo(
            uri=connection.name,
            kind=connection.kind,
            client_version=client_version(),
            server_version=connection.server_version(),
            workspace=connection.workspace,
        )

    def experiment_names(self) -> set[str]:
        """See `Source.experiment_names`."""
        from mlflow.exceptions import MlflowException

        try:
            return {experiment.name for experiment in experiments.read(self._connection)[0]}
        except MlflowException as error:
            raise self._connection.failure(error) from error

    def read(self, selection: Selection, progress: Progress, base: Base | None = None) -> Iterator[SourceItem]:
        """See `Source.read`."""
        from mlflow.exceptions import MlflowException

        in_experiments = self._in_experiments(selection, progress, base)
        try:
            for item in selected(selection, in_experiments, self._in_registry(progress)):
                report(item, progress)
                yield item
        except MlflowException as error:
            raise self._connection.failure(error) from error

    def _in_experiments(self, selection: Selection, progress: Progress, base: Base | None) -> Iterator[SourceItem]:
        progress.phase("reading experiments")
        found, skipped = experiments.read(self._connection, selection.experiments)
        yield from found
        yield from skipped
        progress.phase("reading runs and their metrics")
        ids = [experiment.experiment_id for experiment in found]
        limited = bool(selection.experiments)
        for kind, read in self._readers(base, spans=selection.means(SPANS), limited=limited):
            if selection.means(kind) or (kind is RUNS and limited):  # what is in the registry is selected by runs
                yield from read(ids)
        self._elsewhere = spans_elsewhere(self._locations) if selection.means(SPANS) else ()
        self._hidden = _hidden_from_user(self._connection)

    def _readers(self, base: Base | None, *, spans: bool, limited: bool) -> tuple[tuple[Kind[Any], Reader], ...]:
        """The readers of all kinds whose records belong to experiments, in the order of `Source.read`.

        What a snapshot does not hold is looked for wherever runs are read.
        """
        histories = HistoryReader(self._connection, self._executor, self._pace, self._bulk, base)
        traces = TraceReader(self._connection, self._executor, self._threads, self._pace, base)
        self._locations = traces.locations
        return (
            (RUNS, runs.RunReader(self._connection, histories, self._threads).read),
            (LOGGED_MODELS, partial(logged_models.read, self._connection)),
            (TRACES, partial(traces.read, spans=spans)),
            (EVALUATION_DATASETS, partial(evaluation_datasets.read, self._connection, self._threads, limited=limited)),
            (RUNS, partial(read_unsupported, self._connection, executor=self._threads, limited=limited)),
        )

    def _in_registry(self, progress: Progress) -> Iterator[SourceItem]:
        progress.phase("reading registered models")
        yield from registered_models.read(self._connection, self._executor, self._jobs)

    def warnings(self) -> tuple[str, ...]:
        """See `Source.warnings`."""
        found = [self._hidden] if self._hidden else []
        found += [*self._bulk.warnings(), *self._elsewhere]
        if not self._connection.is_bounded:
            found.append("this MLflow sends requests in a way that mlmeta does not know: their size was not limited")
        return tuple(found)

    def close(self) -> None:
        """See `Source.close`."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _hidden_from_user(connection: Connection) -> str:
    """What to know of a server with basic-auth, where this user is not an administrator; else empty.

    Such a server leaves out of its replies what a user may not see, and says nothing of it.
    """
    if connection.kind != "server":
        return ""
    user = _user(connection, _CURRENT_USER, "")
    name = getattr(connection.tracking.get_host_creds(), "username", None) or ""
    if user is None and name:
        user = _user(connection, _USER, name)
    if user is None or user.get("is_admin") is True:
        return ""
    shown = f" {name}" if name else ""
    return f"the user{shown} is not an administrator of the server: what it may not see is neither saved nor counted"


def _user(connection: Connection, path: str, name: str) -> dict[str, Any] | None:
    """What the server says of a user; None: it has no users."""
    more: dict[str, Any] = {"params": {"username": name}} if name else {}
    try:
        response = connection.request("GET", path, **more)
    except unreadable():
        return None
    if response.status_code == 403:
        return {}
    user = (json_object(response) or {}).get("user") if response.status_code == 200 else None
    return user if isinstance(user, dict) else None
