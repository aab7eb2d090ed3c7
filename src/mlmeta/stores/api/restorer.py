"""A target that speaks MLflow's API: new ids, the original ones kept in tags."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import Any

from mlmeta.errors import RestoreError
from mlmeta.progress import Progress, Silent
from mlmeta.schema import (
    EVALUATION_DATASETS,
    EXPERIMENTS,
    LOGGED_MODELS,
    MODEL_VERSIONS,
    MODELS,
    ROWS,
    RUNS,
    TRACES,
    WITH_PARTS,
    Kind,
    Selection,
    Skipped,
)
from mlmeta.snapshot.compare import Pair
from mlmeta.snapshot.reader import Snapshot
from mlmeta.snapshot.selected import Selected
from mlmeta.stores.api import (
    dataset_restore,
    diagnosis,
    existing,
    experiments,
    logged_models,
    model_sources,
    registered_models,
    rows,
    runs,
    trace_restore,
)
from mlmeta.stores.api.connection import Connection
from mlmeta.stores.api.context import RestoreContext
from mlmeta.stores.api.existing import all_runs, has_foreign_runs
from mlmeta.stores.api.read_back import ReadBack
from mlmeta.stores.rewrite import Rewriter
from mlmeta.stores.source import Source
from mlmeta.stores.target import Plan, Report, RestoreOptions

_WRITERS = 6
"""Most requests that write at once. MLflow's store holds two database connections for each (`log_batch` opens a session
within a session), and SQLAlchemy's pool has 15: with more, they wait for each other until the pool gives up."""

_STEPS: tuple[tuple[Kind[Any], Callable[[RestoreContext, Progress], None]], ...] = (
    (EXPERIMENTS, experiments.restore),
    (RUNS, runs.restore),
    (LOGGED_MODELS, logged_models.restore),
    (TRACES, trace_restore.restore),
    (EVALUATION_DATASETS, dataset_restore.restore),
    (MODELS, registered_models.restore),
    (ROWS, rows.restore),
)
"""What restores each kind, or plans it. A kind comes after those that it refers to."""

UNKEPT = tuple(
    kind.field(field)
    for kind in WITH_PARTS
    if kind.unsettable
    for field in (*kind.unsettable, *(["tags[mlmeta.*]"] if "tags" in kind.record.model_fields else ()))
)
"""What MLflow's API (3.17) has no way to set, and the tags by which a restore finds its own work."""


class ApiTarget:
    """Any server that `MlflowClient` can write to.

    Args:
        connection: to the server; it is checked here.
        jobs: requests under way at once; of those that write never more than 6.
        options: how locations and deleted records are dealt with.
        reading: gives a source that reads from the server.

    Raises:
        ConnectionFailedError: see `Connection.check`.
    """

    unkept = UNKEPT

    def __init__(
        self,
        connection: Connection,
        jobs: int,
        options: RestoreOptions,
        reading: Callable[[], AbstractContextManager[Source]],
    ) -> None:
        connection.check()
        self._connection = connection
        self._jobs = min(jobs, _WRITERS)
        self._executor: Executor = ThreadPoolExecutor(self._jobs, thread_name_prefix="mlmeta-write")
        self._options = options
        self._reading = reading
        self._context: RestoreContext | None = None

    def has_runs(self) -> bool:
        """Whether the target has any run at all."""
        return next(all_runs(self._connection), None) is not None

    def plan(self, snapshot: Snapshot, selection: Selection, progress: Progress) -> Plan:
        """See `Target.plan`. It is what `restore` does, with nothing written."""
        progress.phase("looking at the target")
        context = self._survey(Selected(snapshot, selection), writes=False)
        self._go_through(context, Silent())
        return Plan(
            target=self._connection.name,
            keeps_ids=False,
            create=dict(context.created),
            present=dict(context.present),
            undelete=dict(context.undeleted),
            target_runs=has_foreign_runs(context),
            refused=tuple(context.refused),
            notes=(*context.notes, *_unregistered(context), *context.rewriter.notes()),
        )

    def restore(self, snapshot: Snapshot, selection: Selection, progress: Progress) -> Report:
        """See `Target.restore`."""
        from mlflow.exceptions import MlflowException

        try:
            context = self._restore(Selected(snapshot, selection), progress)
        except MlflowException as error:
            self._connection.check()
            raise RestoreError(
                f"{self._connection.name} failed: {self._connection.reason(error)}",
                hint=f"{diagnosis.advice(error)}; run the restore again: it continues where this one stopped",
            ) from error
        return Report(
            created=dict(context.created),
            present=dict(context.present),
            undeleted=dict(context.undeleted),
            refused=tuple(context.refused),
            notes=tuple(context.notes),
            existing=context.existing,
            completed=context.completed,
        )

    def _restore(self, selected: Selected, progress: Progress) -> RestoreContext:
        self._context = context = self._survey(selected, writes=True)
        self._go_through(context, progress)
        experiments.delete_last(context)
        return context

    def _go_through(self, context: RestoreContext, progress: Progress) -> None:
        for kind, step in _STEPS:
            if context.selected.snapshot.may_have(kind):
                step(context, progress)

    def _survey(self, selected: Selected, *, writes: bool) -> RestoreContext:
        """What the target has. Models alone need to know where their runs went, too."""
        context = RestoreContext(
            connection=self._connection,
            selected=selected,
            executor=self._executor,
            jobs=self._jobs,
            undelete=self._options.undelete,
            rewriter=Rewriter(self._options.rewrite),
            writes=writes,
        )
        for survey in (existing.survey, logged_models.survey, dataset_restore.survey, model_sources.survey):
            survey(context)
        context.known_experiments.update(context.experiments)
        if not selected.selection.means(EXPERIMENTS):
            context.experiments.clear()
        return context

    def read_back(self, snapshot: Snapshot, selection: Selection) -> Iterator[Pair | Skipped]:
        """See `Target.read_back`."""
        selected = Selected(snapshot, selection)
        context = self._context or self._survey(selected, writes=False)
        with self._reading() as source:
            yield from ReadBack(selected, context, source).pairs()

    def close(self) -> None:
        """See `Target.close`."""
        self._executor.shutdown(wait=False, cancel_futures=True)


def _unregistered(context: RestoreContext) -> Iterator[str]:
    """How many versions the target won't take, in one line."""
    count = sum(refusal.kind == MODEL_VERSIONS.one and not refusal.field for refusal in context.refused)
    if count:
        versions = "1 version" if count == 1 else f"{count} versions"
        yield f"{versions} can't be registered through the API: restore into its database"
