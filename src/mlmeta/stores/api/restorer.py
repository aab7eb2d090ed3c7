"""A target that speaks MLflow's API: new ids, the original ones kept in tags."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor

from mlmeta.errors import RestoreError
from mlmeta.progress import Progress, Silent
from mlmeta.schema import EXPERIMENTS, LOGGED_MODELS, MODELS, RUNS, ModelVersion, Record, Selection, Skipped
from mlmeta.snapshot.reader import Snapshot
from mlmeta.snapshot.selected import Selected
from mlmeta.stores.api import diagnosis, experiments
from mlmeta.stores.api.connection import Connection
from mlmeta.stores.api.context import State
from mlmeta.stores.api.existing import all_runs, has_foreign_runs, settle, survey
from mlmeta.stores.api.logged_models import LoggedModelRestorer, note_logged_models
from mlmeta.stores.api.model_sources import references
from mlmeta.stores.api.read_back import read_back
from mlmeta.stores.api.registered_models import ModelRestorer
from mlmeta.stores.api.runs import RunRestorer, plan_run
from mlmeta.stores.rewrite import Rewriter
from mlmeta.stores.target import Plan, Readback, Report, RestoreOptions

_WRITERS = 6
"""Most requests that write at once. MLflow's store holds two database connections for each (`log_batch` opens a session
within a session), and SQLAlchemy's pool has 15: with more, they wait for each other until the pool gives up."""

UNKEPT = (
    "experiments.creation_time",
    "experiments.last_update_time",
    "experiments.tags[mlmeta.*]",
    "runs.artifact_uri",
    "runs.deleted_time",
    "runs.model_inputs",
    "runs.model_outputs",
    "runs.tags[mlmeta.*]",
    "logged models.artifact_location",
    "logged models.creation_timestamp",
    "logged models.last_updated_timestamp",
    "logged models.status_message",
    "logged models.tags[mlmeta.*]",
    "models.creation_timestamp",
    "models.last_updated_timestamp",
    "models.tags[mlmeta.*]",
    "model versions.creation_timestamp",
    "model versions.last_updated_timestamp",
    "model versions.user_id",
    "model versions.status",
    "model versions.status_message",
    "model versions.model_id",
    "model versions.storage_location",
    "model versions.tags[mlmeta.*]",
)
"""What MLflow's API (3.17) has no way to set, and the tags by which a restore finds its own work."""


class ApiTarget:
    """Any server that `MlflowClient` can write to.

    Args:
        connection: to the server; it is checked here.
        jobs: requests under way at once; of those that write never more than 6.
        options: how locations and deleted records are dealt with.

    Raises:
        ConnectionFailedError: see `Connection.check`.
    """

    unkept = UNKEPT

    def __init__(self, connection: Connection, jobs: int, options: RestoreOptions) -> None:
        connection.check()
        self._connection = connection
        self._jobs = min(jobs, _WRITERS)
        self._executor: Executor = ThreadPoolExecutor(self._jobs, thread_name_prefix="mlmeta-write")
        self._options = options
        self._state = State()

    def has_runs(self) -> bool:
        """Whether the target has any run at all."""
        return next(all_runs(self._connection), None) is not None

    def plan(self, snapshot: Snapshot, selection: Selection, progress: Progress) -> Plan:
        """See `Target.plan`. It is what `restore` does, with nothing written."""
        progress.phase("looking at the target")
        selected = Selected(snapshot, selection)
        timestamp = snapshot.timestamp
        state = self._survey(selected)
        experiments.prepare(self._connection, state, timestamp, writes=False)
        for item in selected.runs_with_lines():
            plan_run(item, state)
        LoggedModelRestorer(self._connection, state, timestamp, writes=False).restore(selected, Silent())
        models = ModelRestorer(self._connection, state, timestamp, writes=False)
        for model in selected.models():
            models.restore(model)
        return Plan(
            target=self._connection.name,
            keeps_ids=False,
            create=dict(state.created),
            present=dict(state.present),
            undelete=dict(state.undeleted),
            target_runs=has_foreign_runs(self._connection, state),
            refused=tuple(state.refused),
            notes=(*state.notes, *_unregistered(state), *state.rewriter.notes()),
        )

    def restore(self, snapshot: Snapshot, selection: Selection, progress: Progress) -> Report:
        """See `Target.restore`."""
        from mlflow.exceptions import MlflowException

        selected = Selected(snapshot, selection)
        try:
            self._restore(selected, progress)
        except MlflowException as error:
            self._connection.check()
            raise RestoreError(
                f"{self._connection.name} failed: {self._connection.reason(error)}",
                hint=f"{diagnosis.advice(error)}; run the restore again: it continues where this one stopped",
            ) from error
        state = self._state
        return Report(
            created=dict(state.created),
            present=dict(state.present),
            undeleted=dict(state.undeleted),
            refused=tuple(state.refused),
            notes=tuple(state.notes),
            existing=state.existing,
            completed=state.completed,
        )

    def _restore(self, selected: Selected, progress: Progress) -> None:
        timestamp = selected.snapshot.timestamp
        self._state = state = self._survey(selected)
        progress.phase("restoring experiments")
        experiments.prepare(self._connection, state, timestamp)
        runs = RunRestorer(self._connection, state, timestamp, self._executor, self._jobs)
        progress.phase("creating runs")
        runs.create(selected)
        progress.phase("filling runs")
        runs.fill(selected, progress)
        progress.phase("restoring logged models")
        LoggedModelRestorer(self._connection, state, timestamp).restore(selected, progress)
        progress.phase("restoring registered models")
        models = ModelRestorer(self._connection, state, timestamp)
        for model in selected.models():
            models.restore(model)
            progress.advance("models")
        experiments.finish(self._connection, state)

    def _survey(self, selected: Selected) -> State:
        """What the target has. Models alone need to know where their runs went, too."""
        snapshot = selected.snapshot
        wanted = selected.experiments() if selected.selection.runs else snapshot.records(EXPERIMENTS)
        state = survey(self._connection, wanted, snapshot.timestamp)
        state.undelete = self._options.undelete
        settle(state, snapshot.records(RUNS))
        state.rewriter = Rewriter(self._options.rewrite)
        note_logged_models(self._connection, selected, state)
        _note_references(selected, state)
        if not selected.selection.runs:
            state.places.clear()
        return state

    def read_back(self, snapshot: Snapshot, selection: Selection, read: Readback) -> Iterator[Record | Skipped]:
        """See `Target.read_back`."""
        return read_back(Selected(snapshot, selection), self._state, read)

    def close(self) -> None:
        """See `Target.close`."""
        self._executor.shutdown(wait=False, cancel_futures=True)


def _note_references(selected: Selected, state: State) -> None:
    """Remember where the files are of what model versions refer to: runs, logged models and other versions."""
    if not selected.selection.models:
        return
    snapshot = selected.snapshot
    found = references(version for _, version in _versions(snapshot))
    for run in snapshot.records(RUNS):
        if run.run_id in found.runs and run.artifact_uri:
            state.artifact_uris[run.run_id] = run.artifact_uri
    for made in snapshot.records(LOGGED_MODELS) if found.logged_models else ():
        if made.model_id in found.logged_models and made.artifact_location:
            state.model_locations[made.model_id] = made.artifact_location
    for name, version in _versions(snapshot) if found.versions else ():
        if name in found.versions and version.source and not version.source.startswith("models:"):
            state.version_sources[name] = version.source


def _versions(snapshot: Snapshot) -> Iterator[tuple[str, ModelVersion]]:
    """All versions of a snapshot, named as ``models:/`` sources name them."""
    return ((f"{m.name}/{version.version}", version) for m in snapshot.records(MODELS) for version in m.versions)


def _unregistered(state: State) -> Iterator[str]:
    """How many versions the target won't take, in one line."""
    count = sum(refusal.kind == "model version" and not refusal.field for refusal in state.refused)
    if count:
        versions = "1 version" if count == 1 else f"{count} versions"
        yield f"{versions} can't be registered through the API: restore into its database"
