"""A source that speaks MLflow's API."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import cached_property, partial
from typing import Any

from mlmeta.progress import Progress
from mlmeta.schema import (
    EVALUATION_DATASETS,
    LOGGED_MODELS,
    ROWS,
    RUNS,
    SPANS,
    TRACES,
    Experiment,
    Kind,
    Selection,
    Skipped,
)
from mlmeta.stores.api import evaluation_datasets, experiments, logged_models, registered_models, runs
from mlmeta.stores.api.connection import Connection, client_version
from mlmeta.stores.api.histories import BulkEndpoint, HistoryReader
from mlmeta.stores.api.pace import Pace
from mlmeta.stores.api.traces import TraceReader
from mlmeta.stores.api.unsupported import hidden_from_user, read_unsupported
from mlmeta.stores.api.workspaces import Workspaces, by_workspace
from mlmeta.stores.base import Base
from mlmeta.stores.source import SourceInfo, SourceItem, report, selected, spans_elsewhere

DEFAULT_JOBS = 8

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
        self._trace_readers: list[TraceReader] = []
        self._elsewhere: tuple[str, ...] = ()
        self.info = SourceInfo(
            uri=connection.name,
            kind=connection.kind,
            client_version=client_version(),
            server_version=connection.server_version(),
            workspace=connection.workspace,
        )

    def experiment_names(self) -> set[tuple[str | None, str]]:
        """See `Source.experiment_names`."""
        from mlflow.exceptions import MlflowException

        try:
            found, _ = experiments.read(self._workspaces.connections(Selection()))
            return {(experiment.workspace, experiment.name) for experiment in found}
        except MlflowException as error:
            raise self._connection.failure(error) from error

    @cached_property
    def _workspaces(self) -> Workspaces:
        return Workspaces.of(self._connection)

    def read(self, selection: Selection, progress: Progress, base: Base | None = None) -> Iterator[SourceItem]:
        """See `Source.read`."""
        from mlflow.exceptions import MlflowException

        try:
            for item in self._read(selection, progress, base):
                report(item, progress)
                yield item
        except MlflowException as error:
            raise self._connection.failure(error) from error

    def _read(self, selection: Selection, progress: Progress, base: Base | None) -> Iterator[SourceItem]:
        some = self._workspaces.connections(selection)
        inside: dict[str | None, None] = dict.fromkeys([] if selection.experiments else [one.place for one in some])
        in_experiments = self._in_experiments(some, selection, progress, base)
        for item in selected(selection, in_experiments, self._in_registry(some, selection, progress)):
            if isinstance(item, Experiment) and selection.experiments:
                inside[item.workspace] = None
            yield item
        if selection.means(ROWS):
            yield from self._workspaces.rows(inside)
        yield from self._workspaces.unread()

    def _in_experiments(
        self, some: list[Connection], selection: Selection, progress: Progress, base: Base | None
    ) -> Iterator[SourceItem]:
        progress.phase("reading experiments")
        found, skipped = experiments.read(some, selection.experiments)
        yield from found
        yield from skipped
        progress.phase("reading runs")
        self._trace_readers = []
        readers = {one.place: self._readers(one, base, selection) for one in some}
        limited = bool(selection.experiments)
        for kind in (RUNS, LOGGED_MODELS, TRACES):
            if selection.means(kind) or (kind is RUNS and limited):  # what is in the registry is selected by runs
                for workspace, ids in by_workspace(found):
                    yield from readers[workspace][kind](ids)
        if selection.means(SPANS):
            self._elsewhere = spans_elsewhere(sum((one.locations for one in self._trace_readers), Counter[str]()))
        theirs = [(one, [item.experiment_id for item in found if item.workspace == one.place]) for one in some]
        if selection.means(EVALUATION_DATASETS):
            yield from evaluation_datasets.read(theirs, self._threads, limited=limited)
        if selection.means(RUNS) or limited:
            yield from self._unsupported(theirs, limited=limited)
        self._hidden = hidden_from_user(self._connection)

    def _readers(self, connection: Connection, base: Base | None, selection: Selection) -> dict[Kind[Any], Reader]:
        """The readers of kinds whose records belong to one experiment each, for calls that are about a workspace."""
        histories = HistoryReader(connection, self._executor, self._pace, self._bulk, base)
        traces = TraceReader(connection, self._executor, self._threads, self._pace, base)
        self._trace_readers.append(traces)
        return {
            RUNS: runs.RunReader(connection, histories, self._threads, selection.runs).read,
            LOGGED_MODELS: partial(logged_models.read, connection),
            TRACES: partial(traces.read, spans=selection.means(SPANS)),
        }

    def _unsupported(self, theirs: list[tuple[Connection, list[str]]], *, limited: bool) -> Iterator[Skipped]:
        """What a snapshot does not hold: it is looked for wherever runs are read."""
        told: dict[Skipped, None] = {}
        for connection, ids in theirs:
            told |= dict.fromkeys(read_unsupported(connection, ids, executor=self._threads, limited=limited))
        yield from told

    def _in_registry(self, some: list[Connection], selection: Selection, progress: Progress) -> Iterator[SourceItem]:
        progress.phase("reading registered models")
        elsewhere = self._connection.registry_elsewhere
        if elsewhere is not None:
            names = Workspaces.of(elsewhere).names
            some = [self._connection.within(name) for name in names if selection.has_workspace(name)]
        for connection in some:
            yield from registered_models.read(connection, self._executor, self._jobs)

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
