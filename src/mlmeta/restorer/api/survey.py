"""Looks at the target before anything is written: which experiments and runs are there already."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from mlmeta.restorer.api import marks
from mlmeta.restorer.api.state import KnownRun, Place, State
from mlmeta.schema import Experiment, Run
from mlmeta.tracking.connection import Connection

_PAGE = 1000


def survey(connection: Connection, experiments: Iterable[Experiment], timestamp: str) -> State:
    """What the target has of these experiments.

    Args:
        connection: to the target.
        experiments: of the snapshot.
        timestamp: the snapshot's.
    """
    state = State()
    by_name = {entity.name: entity for entity in _all_experiments(connection)}
    for experiment in experiments:
        place = _place(experiment, by_name.get(experiment.name), timestamp)
        state.places[experiment.experiment_id] = place
        if place.target_id:
            _note_runs(connection, place.target_id, state)
    return state


def _place(experiment: Experiment, entity: Any, timestamp: str) -> Place:
    deleted = experiment.lifecycle_stage == "deleted"
    if entity is None:
        return Place(experiment, delete_last=deleted)
    tags = dict(entity.tags)
    gone = entity.lifecycle_stage == "deleted"
    return Place(
        experiment,
        target_id=str(entity.experiment_id),
        joined=tags.get(marks.SOURCE_EXPERIMENT_ID) != experiment.experiment_id,
        deleted=gone,
        delete_last=deleted and (gone or tags.get(marks.TO_DELETE) == timestamp),
    )


def settle(state: State, runs: Iterable[Run]) -> None:
    """Decide which deleted experiments have to be made active: not those where nothing is missing.

    Args:
        state: fresh from the survey.
        runs: of the snapshot.
    """
    lacking = {run.experiment_id for run in runs if not state.is_complete(run.run_id)}
    for source_id, place in state.places.items():
        if place.deleted:
            place.revive = source_id in lacking or (place.joined and not place.delete_last)
            place.delete_last = place.delete_last and place.revive


def _note_runs(connection: Connection, experiment_id: str, state: State) -> None:
    for run in search_runs(connection, [experiment_id]):
        state.native.add(run.info.run_id)
        source = run.data.tags.get(marks.SOURCE_RUN_ID)
        if source is None:
            continue
        known = KnownRun(run.info.run_id, run.data.tags.get(marks.SNAPSHOT, ""), run.info.lifecycle_stage == "deleted")
        other = state.runs.get(source)
        if other is None or (known.snapshot and not other.snapshot):
            state.runs[source] = known
        if other is not None:
            state.notes.append(
                f"run {source} is in the target twice ({other.run_id}, {known.run_id}), as after two restores at "
                "once: delete the one without metrics"
            )


def has_foreign_runs(connection: Connection, state: State) -> bool:
    """Whether the target has a run that is not of this snapshot."""
    ours = {known.run_id for known in state.runs.values()}
    if state.native - ours:
        return True
    return any(run.info.run_id not in ours for run in all_runs(connection))


def all_runs(connection: Connection) -> Iterator[Any]:
    """All runs of the target, as entities."""
    ids = [str(entity.experiment_id) for entity in _all_experiments(connection)]
    for start in range(0, len(ids), 100):
        yield from search_runs(connection, ids[start : start + 100])


def search_runs(connection: Connection, experiment_ids: list[str]) -> Iterator[Any]:
    """Runs of experiments, active and deleted, all pages."""
    from mlflow.entities import ViewType

    token = None
    while True:
        page = connection.client.search_runs(
            experiment_ids,
            "",
            ViewType.ALL,
            _PAGE,
            order_by=["attributes.start_time ASC"],
            page_token=token,
        )
        yield from page
        token = page.token
        if not token:
            return


def _all_experiments(connection: Connection) -> Iterator[Any]:
    from mlflow.entities import ViewType

    token = None
    while True:
        page = connection.client.search_experiments(ViewType.ALL, _PAGE, page_token=token)
        yield from page
        token = page.token
        if not token:
            return
