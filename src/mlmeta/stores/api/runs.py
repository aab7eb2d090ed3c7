"""Runs: first all are created, so that their new ids are known, then each is filled.

A run carries the tag `restore_tags.SNAPSHOT` once it is complete, and not before. What a killed restore left
half-filled is found by `restore_tags.SOURCE_RUN_ID` and filled again: the store keeps params, tags and metric points as
sets, so nothing doubles.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor
from typing import Any

from mlmeta.parallel import ordered_map
from mlmeta.progress import Progress
from mlmeta.redaction import cut
from mlmeta.schema import RUNS, DatasetInput, Run
from mlmeta.snapshot.reader import RunHistories, RunLines
from mlmeta.snapshot.selected import Selected
from mlmeta.stores.api import diagnosis, restore_tags
from mlmeta.stores.api.connection import Connection
from mlmeta.stores.api.context import Fate, KnownRun, State
from mlmeta.stores.api.log_batch import Batch, log, may_be_refused, sift
from mlmeta.stores.target import Refusal

_WHOLE_RUN = "run"
_TRIED_AGAIN = 100
"""Most runs that are kept in memory for a second try."""


class RunRestorer:
    """Restores runs.

    Args:
        connection: to the target.
        state: what is known of it; its places are prepared.
        timestamp: the snapshot's.
        executor: for the requests.
        jobs: requests under way at once.
    """

    def __init__(self, connection: Connection, state: State, timestamp: str, executor: Executor, jobs: int) -> None:
        self._connection = connection
        self._state = state
        self._timestamp = timestamp
        self._executor = executor
        self._ahead = 4 * jobs

    def create(self, selected: Selected) -> None:
        """Create the runs that the target lacks."""
        missing = (run for run in self._runs(selected) if self._state.fate(run) is Fate.CREATE)
        for run, outcome in ordered_map(self._executor, self._create, missing, self._ahead):
            if isinstance(outcome, Refusal):
                self._state.refused.append(outcome)
            else:
                self._state.runs[run.run_id] = KnownRun(outcome)

    def _runs(self, selected: Selected) -> Iterator[Run]:
        runs = selected.snapshot.records(RUNS) if selected.selection.runs else ()
        return (run for run in runs if run.experiment_id in self._state.places)

    def _create(self, run: Run) -> tuple[Run, str | Refusal]:
        from mlflow.entities import RunTag
        from mlflow.exceptions import MlflowException

        tags = {
            restore_tags.SOURCE_RUN_ID: run.run_id,
            restore_tags.SOURCE_EXPERIMENT_ID: run.experiment_id,
            restore_tags.SOURCE_ARTIFACT_URI: run.artifact_uri or "",
        }
        try:
            created = self._connection.tracking.create_run(
                experiment_id=self._state.places[run.experiment_id].target_id,
                user_id=run.user_id or "",
                start_time=run.start_time or 0,
                tags=[RunTag(key, value) for key, value in tags.items()],
                run_name=run.run_name or run.tags.get("mlflow.runName") or "",
            )
        except MlflowException as error:
            self._connection.check()
            hint = diagnosis.advice(error, "")
            return run, Refusal(kind="run", id=run.run_id, reason=self._connection.reason(error), hint=hint)
        return run, created.info.run_id

    def fill(self, selected: Selected, progress: Progress) -> None:
        """Fill the runs that are not complete. What fails in the crowd is tried once more, by itself, at the end."""
        again: list[RunHistories] = []
        for item, refused in ordered_map(self._executor, self._fill, selected.runs(), self._ahead):
            if any(refusal.kind == _WHOLE_RUN for refusal in refused) and len(again) < _TRIED_AGAIN:
                again.append(item)
                continue
            self._finished(item, refused, progress)
        for item in again:
            self._finished(*self._fill(item), progress)

    def _finished(self, item: RunHistories, refused: list[Refusal], progress: Progress) -> None:
        self._state.refused += refused
        self._count(item.run)
        progress.advance("runs")

    def _count(self, run: Run) -> None:
        known = self._state.known(run.run_id)
        if known is None:
            if self._state.fate(run) is Fate.OUT_OF_REACH:
                self._state.refuse_run(run, Fate.OUT_OF_REACH)
            return
        count(run, self._state.fate(run), self._state)
        place = self._state.places[run.experiment_id]
        cut_short = place.was_deleted_last and known.deleted  # an earlier restore was killed before its last requests
        if run.lifecycle_stage == "active" and (place.delete_last or cut_short):
            self._state.active_in_deleted.append(known.run_id)

    def _fill(self, item: RunHistories) -> tuple[RunHistories, list[Refusal]]:
        from mlflow.exceptions import MlflowException

        run = item.run
        known, fate = self._state.known(run.run_id), self._state.fate(run)
        refused: list[Refusal] = []
        if known is None or (known.snapshot and known.snapshot != self._timestamp and fate is not Fate.UNDELETE):
            return item, refused
        try:
            if fate is Fate.UNDELETE:
                self._connection.client.restore_run(known.run_id)
            if not known.snapshot and (fate is Fate.UNDELETE or not known.deleted):
                refused += self._complete(item, known.run_id)
            if run.lifecycle_stage == "deleted" and not known.deleted:
                self._connection.client.delete_run(known.run_id)
        except MlflowException as error:
            self._connection.check()
            reason, hint = self._connection.reason(error), diagnosis.advice(error, "")
            refused.append(Refusal(kind=_WHOLE_RUN, id=run.run_id, reason=reason, hint=hint))
        return item, refused

    def _complete(self, item: RunHistories, run_id: str) -> list[Refusal]:
        run = item.run
        store = self._connection.tracking
        status = _status(run.status)
        if run.status != "RUNNING" or run.end_time is not None:
            store.update_run_info(run_id, status, run.end_time, None)
        takes = [i for i in run.dataset_inputs if not _dataset_obstacle(i)]
        if takes:
            store.log_inputs(run_id, [_dataset_input(i) for i in takes])
        batch, refused = sift(self._batch(item), run.run_id)
        refused += log(self._connection, run_id, batch, run.run_id)
        return [*refused, *foreseen(run, self._state)]

    def _batch(self, item: RunHistories) -> Batch:
        tags = restore_tags.without(item.run.tags)
        parent = tags.get(restore_tags.PARENT_RUN_ID)
        if parent is not None:
            tags[restore_tags.PARENT_RUN_ID] = self._state.target_run(parent) or parent
        return Batch.of(item, tags, {restore_tags.SNAPSHOT: self._timestamp})


def count(run: Run, fate: Fate, state: State) -> None:
    """Count a run by its fate; name it where it stays as it is."""
    if fate in {Fate.CREATE, Fate.FILL}:
        state.created["runs"] += 1
    elif fate is Fate.UNDELETE:
        state.is_active_again("runs", "run", run.run_id)
    elif fate in {Fate.PRESENT, Fate.DELETED}:
        state.was_there("runs", "run", run.run_id)
    if fate in {Fate.PRESENT, Fate.UNDELETE}:
        state.refuse_older(run)
    state.refuse_run(run, fate)


def foreseen(run: Run, state: State) -> Iterator[Refusal]:
    """What of a run that is to be filled a server can't be given."""
    about = {"id": run.run_id, "records": (("run", run.run_id),)}
    if _status(run.status) is None:
        reason = f"MLflow knows no status {run.status!r}; the run stays RUNNING"
        yield Refusal(kind="run's status", reason=reason, field="status", **about)
    for reason in filter(None, map(_dataset_obstacle, run.dataset_inputs)):
        yield Refusal(kind="run's dataset", reason=reason, field="dataset_inputs", **about)
    models = {m.model_id for m in run.model_inputs} | {m.model_id for m in run.model_outputs}
    if not models <= state.coming_models:
        reason = "the snapshot lacks some of the logged models that it used or made, or has them as deleted"
        yield Refusal(kind="run's logged models", reason=reason, field="model_outputs", **about)


def plan_run(item: RunLines, state: State) -> None:
    """Count what a restore would do about a run, and name what of it the target won't take."""
    run = item.run
    fate, known = state.fate(run), state.known(run.run_id)
    count(run, fate, state)
    if fate is Fate.CREATE:
        state.coming_runs.add(run.run_id)
    if fate in {Fate.CREATE, Fate.FILL} or (fate is Fate.UNDELETE and known is not None and not known.snapshot):
        doubtful = tuple(line.record() for line in item.lines if may_be_refused(line))
        batch = Batch.of(RunHistories(run, doubtful), restore_tags.without(run.tags), {})
        state.refused += (*sift(batch, run.run_id)[1], *foreseen(run, state))


def _status(status: str) -> Any:
    """MLflow's number of a status; None, which leaves a run as it is, where it knows none of that name."""
    from mlflow.entities import RunStatus

    known = {RunStatus.to_string(number): number for number in RunStatus.all_status()}
    return known.get(status)


def _dataset_obstacle(record: DatasetInput) -> str:
    """Why MLflow does not take a dataset; empty: it does."""
    from mlflow.exceptions import MlflowException
    from mlflow.utils.validation import _validate_dataset_inputs

    try:
        _validate_dataset_inputs([_dataset_input(record)])
    except MlflowException as error:
        return f"dataset {cut(record.dataset.name, 80)!r}: {(str(error).splitlines() or [''])[0]}"
    return ""


def _dataset_input(record: DatasetInput) -> Any:
    from mlflow import entities

    dataset = record.dataset
    return entities.DatasetInput(
        dataset=entities.Dataset(
            name=dataset.name,
            digest=dataset.digest,
            source_type=dataset.source_type or "",
            source=dataset.source or "",
            schema=dataset.schema_,
            profile=dataset.profile,
        ),
        tags=[entities.InputTag(key, value) for key, value in record.tags.items()],
    )
