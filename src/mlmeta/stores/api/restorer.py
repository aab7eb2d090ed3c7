"""A target that speaks MLflow's API: new ids, the original ones kept in tags."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import AbstractContextManager
from itertools import chain
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
from mlmeta.stores.api import (
    dataset_restore,
    diagnosis,
    existing,
    experiments,
    links,
    logged_model_restore,
    model_sources,
    registered_model_restore,
    runs,
    trace_restore,
)
from mlmeta.stores.api.connection import Connection
from mlmeta.stores.api.context import RestoreContext
from mlmeta.stores.api.existing import all_runs, has_foreign_runs
from mlmeta.stores.api.read_back import ReadBack
from mlmeta.stores.api.restore_parts import Destination, Destinations
from mlmeta.stores.api.unsupported import has_users
from mlmeta.stores.api.workspaces import Workspaces
from mlmeta.stores.rewrite import Rewriter
from mlmeta.stores.source import Source
from mlmeta.stores.target import Plan, Report, RestoreOptions

_WRITERS = 6
"""Most requests that write at once. MLflow's store holds two database connections for each (`log_batch` opens a session
within a session), and SQLAlchemy's pool has 15: with more, they wait for each other until the pool gives up."""

_STEPS: tuple[tuple[Kind[Any], Callable[[RestoreContext, Progress], None]], ...] = (
    (EXPERIMENTS, experiments.restore),
    (RUNS, runs.restore),
    (LOGGED_MODELS, logged_model_restore.restore),
    (LOGGED_MODELS, logged_model_restore.link_runs),
    (TRACES, trace_restore.restore),
    (EVALUATION_DATASETS, dataset_restore.restore),
    (MODELS, registered_model_restore.restore),
    (ROWS, links.restore),
    (ROWS, links.name_others),
)
"""What restores each kind, or plans it. A kind comes after those that it refers to."""

UNKEPT = tuple(
    kind.field(field)
    for kind in WITH_PARTS
    if kind.unsettable
    for field in (*kind.unsettable, *(["tags[mlmeta.*]"] if "tags" in kind.record.model_fields else ()))
)
"""What MLflow's API (3.17) has no way to set, and the tags by which a restore finds its own work."""

_IN_WORKSPACES = (EXPERIMENTS.field("artifact_location"),)
"""What it has no way to set where a server has workspaces."""


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
        self._contexts: list[RestoreContext] = []

    def has_content(self) -> bool:
        """Whether the target has any run at all, in any workspace that the user may see."""
        inside = Workspaces.of(self._connection).connections(Selection())
        return any(True for connection in inside for _ in all_runs(connection))

    @property
    def unkept(self) -> tuple[str, ...]:
        """See `Target.unkept`: a server with workspaces says itself where an experiment's artifacts go."""
        return (*UNKEPT, *_IN_WORKSPACES) if Workspaces.of(self._connection).are_any else UNKEPT

    def plan(self, snapshot: Snapshot, selection: Selection, progress: Progress) -> Plan:
        """See `Target.plan`. It is what `restore` does, with nothing written."""
        progress.phase("looking at the target")
        rewriter = Rewriter(self._options.rewrite)
        where = Destinations(self._connection, snapshot, selection, rewriter, writes=False)
        contexts = [self._survey(one, rewriter, writes=False) for one in where.all]
        for context in contexts:
            self._go_through(context, Silent())
        report = _report(contexts, where)
        return Plan(
            target=self._connection.name,
            keeps_ids=False,
            create=report.created,
            present=report.present,
            undelete=report.undeleted,
            target_runs=any(map(has_foreign_runs, contexts)),
            refused=report.refused,
            existing=report.existing if selection.names_records else frozenset(),
            completed=report.completed if selection.names_records else frozenset(),
            notes=(*report.notes, *self._permissions(snapshot), *_unregistered(report), *rewriter.notes()),
        )

    def _permissions(self, snapshot: Snapshot) -> Iterator[str]:
        """What to know where there are permissions, which are given by the ids of experiments."""
        if snapshot.summary.auth_uri or has_users(self._connection):
            yield (
                "experiments get new ids, and basic-auth gives permissions by id: those of an older auth database "
                "would be for other experiments, so give them anew"
            )

    def restore(self, snapshot: Snapshot, selection: Selection, progress: Progress) -> Report:
        """See `Target.restore`."""
        from mlflow.exceptions import MlflowException

        try:
            return self._restore(snapshot, selection, progress)
        except MlflowException as error:
            self._connection.check()
            raise RestoreError(
                f"{self._connection.name} failed: {self._connection.reason(error)}",
                hint=f"{diagnosis.advice(error)}; run the restore again: it continues where this one stopped",
            ) from error

    def _restore(self, snapshot: Snapshot, selection: Selection, progress: Progress) -> Report:
        rewriter = Rewriter(self._options.rewrite)
        where = Destinations(self._connection, snapshot, selection, rewriter, writes=True)
        self._contexts = []
        for one in where.all:
            context = self._survey(one, rewriter, writes=True)
            self._go_through(context, progress)
            runs.delete_last(context)
            experiments.delete_last(context)
            context.notes.extend(runs.new_ids(context))
            self._contexts.append(context)
        return _report(self._contexts, where)

    def _go_through(self, context: RestoreContext, progress: Progress) -> None:
        for kind, step in _STEPS:
            if context.selected.snapshot.may_have(kind):
                step(context, progress)

    def _survey(self, where: Destination, rewriter: Rewriter, *, writes: bool) -> RestoreContext:
        """What the target has of a workspace. Models alone need to know where their runs went, too."""
        context = RestoreContext(
            connection=where.connection,
            selected=where.part.selected,
            workspace=where.part.workspace,
            has_workspaces=where.has_workspaces,
            is_planned=where.is_planned,
            executor=self._executor,
            jobs=self._jobs,
            undelete=self._options.undelete,
            rewriter=rewriter,
            writes=writes,
        )
        for survey in (existing.survey, logged_model_restore.survey, dataset_restore.survey, model_sources.survey):
            survey(context)
        context.known_experiments.update(context.experiments)
        if not context.selected.selection.means(EXPERIMENTS):
            context.experiments.clear()
        return context

    def read_back(self, snapshot: Snapshot, selection: Selection) -> Iterator[Pair | Skipped]:
        """See `Target.read_back`."""
        if not self._contexts:
            rewriter = Rewriter(self._options.rewrite)
            where = Destinations(self._connection, snapshot, selection, rewriter, writes=False)
            self._contexts = [self._survey(one, rewriter, writes=False) for one in where.all]
        with self._reading() as source:
            for context in self._contexts:
                yield from ReadBack(context, source).pairs()

    def close(self) -> None:
        """See `Target.close`."""
        self._executor.shutdown(wait=False, cancel_futures=True)


def _report(contexts: Sequence[RestoreContext], where: Destinations) -> Report:
    """What came of all workspaces together."""
    return Report(
        created=dict(sum((context.created for context in contexts), Counter[str]())),
        present=dict(sum((context.present for context in contexts), Counter[str]())),
        undeleted=dict(sum((context.undeleted for context in contexts), Counter[str]())),
        refused=tuple(dict.fromkeys((*where.refused, *chain.from_iterable(one.refused for one in contexts)))),
        notes=(*where.notes, *chain.from_iterable(context.notes for context in contexts)),
        existing=set().union(*(context.existing for context in contexts)),
        completed=set().union(*(context.completed for context in contexts)),
    )


def _unregistered(report: Report) -> Iterator[str]:
    """How many versions the target won't take, in one line."""
    count = sum(refusal.kind == MODEL_VERSIONS.one and not refusal.field for refusal in report.refused)
    if count:
        versions = "1 version" if count == 1 else f"{count} versions"
        yield f"{versions} can't be registered through the API: restore into its database"
