"""A target that speaks MLflow's API: new ids, the original ones kept in tags."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor

from mlmeta.errors import RestoreError
from mlmeta.progress import Progress
from mlmeta.restorer.api import experiments
from mlmeta.restorer.api.logged_models import LoggedModelRestorer, is_there, note_logged_models
from mlmeta.restorer.api.read_back import read_back
from mlmeta.restorer.api.registry import ModelRestorer, find, versions_of
from mlmeta.restorer.api.runs import RunRestorer
from mlmeta.restorer.api.sources import references
from mlmeta.restorer.api.state import State
from mlmeta.restorer.api.survey import all_runs, has_foreign_runs, settle, survey
from mlmeta.restorer.rewrite import Rewriter
from mlmeta.restorer.target import Plan, Readback, Report
from mlmeta.schema import EXPERIMENTS, LOGGED_MODELS, MODELS, RUNS, Record, Selection, Skipped
from mlmeta.snapshot.reader import Snapshot
from mlmeta.snapshot.selecting import Selected
from mlmeta.tracking.connection import Connection

_WRITERS = 6
"""Most requests that write at once. MLflow's store holds two database connections for each (`log_batch` opens a session
within a session), and SQLAlchemy's pool has 15: with more, they wait for each other until the pool gives up."""

UNKEPT = (
    "experiments.creation_time",
    "experiments.last_update_time",
    "runs.artifact_uri",
    "runs.deleted_time",
    "runs.model_inputs",
    "runs.model_outputs",
    "logged models.artifact_location",
    "logged models.creation_timestamp",
    "logged models.last_updated_timestamp",
    "logged models.status_message",
    "models.creation_timestamp",
    "models.last_updated_timestamp",
    "model versions.creation_timestamp",
    "model versions.last_updated_timestamp",
    "model versions.user_id",
    "model versions.status",
    "model versions.status_message",
    "model versions.model_id",
    "model versions.storage_location",
)
"""What MLflow's API (3.17) has no way to set."""


class ApiTarget:
    """Any server that `MlflowClient` can write to.

    Args:
        connection: to the server; it is checked here.
        jobs: requests under way at once; of those that write never more than 6.
        rewrite: prefixes of artifact locations, and what to put in their place.
        undelete: make active again what the snapshot has active and the target has deleted.

    Raises:
        ConnectionFailedError: see `Connection.check`.
    """

    unkept = UNKEPT

    def __init__(
        self,
        connection: Connection,
        jobs: int,
        rewrite: Sequence[tuple[str, str]] = (),
        *,
        undelete: bool = False,
    ) -> None:
        connection.check()
        self._connection = connection
        self._jobs = min(jobs, _WRITERS)
        self._executor: Executor = ThreadPoolExecutor(self._jobs, thread_name_prefix="mlmeta-write")
        self._rewrite = tuple(rewrite)
        self._undelete = undelete
        self._state = State()

    def has_runs(self) -> bool:
        """Whether the target has any run at all."""
        return next(all_runs(self._connection), None) is not None

    def plan(self, snapshot: Snapshot, selection: Selection, progress: Progress) -> Plan:
        """See `Target.plan`."""
        progress.phase("looking at the target")
        selected = Selected(snapshot, selection)
        state = self._survey(selected)
        create: Counter[str] = Counter()
        present: Counter[str] = Counter()
        for place in state.places.values():
            (present if place.target_id else create)["experiments"] += 1
        for run in snapshot.records(RUNS) if selection.runs else ():
            if run.experiment_id in state.places:
                (present if state.is_complete(run.run_id) else create)["runs"] += 1
        note_logged_models(self._connection, selected, state)
        for logged in selected.logged_models():
            (present if is_there(logged, state) else create)["logged models"] += 1
        for model in selected.models():
            self._plan_model(model.name, [v.version for v in model.versions], create, present)
        self._plan_rewriting(selected, state)
        return Plan(
            target=self._connection.name,
            keeps_ids=False,
            create=dict(create),
            present=dict(present),
            target_runs=has_foreign_runs(self._connection, state),
            notes=(*state.notes, *state.rewriter.notes()),
        )

    @staticmethod
    def _plan_rewriting(selected: Selected, state: State) -> None:
        for experiment in selected.experiments():
            state.rewritten("experiments", experiment.artifact_location)
        for logged in selected.logged_models():
            state.rewritten("logged models", logged.artifact_location)
        for model in selected.models():
            for version in model.versions:
                state.rewritten("model versions", version.source)

    def _plan_model(self, name: str, numbers: list[int], create: Counter[str], present: Counter[str]) -> None:
        there = find(self._connection, name) is not None
        (present if there else create)["models"] += 1
        known = {int(v.version) for v in versions_of(self._connection, name)} if there else set()
        for number in numbers:
            (present if number in known else create)["model versions"] += 1

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
                hint="look at the server's log; run the restore again, it goes on where it stopped",
            ) from error
        state = self._state
        return Report(
            created=dict(state.created),
            present=dict(state.present),
            refused=tuple(state.refused),
            notes=tuple(state.notes),
            before=state.before,
        )

    def _restore(self, selected: Selected, progress: Progress) -> None:
        timestamp = selected.snapshot.timestamp
        self._state = state = self._survey(selected)
        self._note_references(selected)
        progress.phase("restoring experiments")
        note_logged_models(self._connection, selected, state)
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
        settle(state, snapshot.records(RUNS))
        state.rewriter = Rewriter(self._rewrite)
        if not selected.selection.runs:
            state.places.clear()
        return state

    def _note_references(self, selected: Selected) -> None:
        """Remember where the files are of the runs and logged models that model versions refer to."""
        if not selected.selection.models:
            return
        runs, logged = references(v for model in selected.snapshot.records(MODELS) for v in model.versions)
        for run in selected.snapshot.records(RUNS):
            if run.run_id in runs and run.artifact_uri:
                self._state.artifact_uris[run.run_id] = run.artifact_uri
        for made in selected.snapshot.records(LOGGED_MODELS) if logged else ():
            if made.model_id in logged and made.artifact_location:
                self._state.model_locations[made.model_id] = made.artifact_location

    def read_back(self, snapshot: Snapshot, selection: Selection, read: Readback) -> Iterator[Record | Skipped]:
        """See `Target.read_back`."""
        return read_back(Selected(snapshot, selection), self._state, read)

    def close(self) -> None:
        """See `Target.close`."""
        self._executor.shutdown(wait=False, cancel_futures=True)
