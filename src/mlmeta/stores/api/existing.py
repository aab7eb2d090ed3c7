"""Looks at the target before anything is written: which experiments and runs are there already."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from mlmeta.schema import Experiment, Run
from mlmeta.stores.api import restore_tags
from mlmeta.stores.api.connection import Connection
from mlmeta.stores.api.context import NATIVE, Extent, KnownRun, Place, State
from mlmeta.stores.api.model_sources import STRICT_SINCE

_PAGE = 1000


def survey(connection: Connection, experiments: Iterable[Experiment], timestamp: str) -> State:
    """What the target has of these experiments.

    Args:
        connection: to the target.
        experiments: of the snapshot.
        timestamp: the snapshot's.
    """
    state = State(is_strict=_is_strict(connection.server_version()))
    by_name = {entity.name: entity for entity in _all_experiments(connection)}
    by_identity = {(str(entity.experiment_id), entity.creation_time): entity for entity in by_name.values()}
    state.root = next((e.artifact_location for e in by_name.values() if str(e.experiment_id) == "0"), "") or ""
    for experiment in experiments:
        own = by_identity.get(_identity(experiment))
        place = _place(experiment, own or by_name.get(experiment.name), timestamp)
        state.places[experiment.experiment_id] = place
        if place.target_id:
            _note_runs(connection, place.target_id, state, timestamp)
    return state


def _is_strict(version: str | None) -> bool:
    numbers = (version or "").split(".")[:2]
    return not all(map(str.isdigit, numbers)) or tuple(map(int, numbers)) >= STRICT_SINCE


def _place(experiment: Experiment, entity: Any, timestamp: str) -> Place:
    deleted = experiment.lifecycle_stage == "deleted"
    if entity is None:
        return Place(experiment, delete_last=deleted)
    tags = dict(entity.tags)
    gone = entity.lifecycle_stage == "deleted"
    joined = tags.get(restore_tags.SOURCE_EXPERIMENT_ID) != experiment.experiment_id
    return Place(
        experiment,
        target_id=str(entity.experiment_id),
        name=entity.name,
        joined=joined,
        own=not joined or _identity(experiment) == (str(entity.experiment_id), entity.creation_time),
        deleted=gone,
        delete_last=deleted and (gone or tags.get(restore_tags.TO_DELETE) == timestamp),
    )


def _identity(experiment: Experiment) -> tuple[str, int | None]:
    """What tells an experiment from another one of that name; one without a time of creation has none."""
    return (experiment.experiment_id if experiment.creation_time else "", experiment.creation_time)


def settle(state: State, runs: Iterable[Run]) -> None:
    """Decide which deleted experiments have to be made active, and forget runs of other snapshots.

    One that is deleted in the target comes back for what the snapshot has active only if it is not the snapshot's own:
    who deleted that one meant it, and says so (`State.undelete`) to have it back.

    Args:
        state: fresh from the survey.
        runs: of the snapshot.
    """
    lacking = _match(state, runs)
    for source_id, place in state.places.items():
        if place.deleted:
            place.revive = _revives(place, state, lacks=source_id in lacking)
            place.delete_last = place.delete_last and place.revive
            if place.revive and not place.delete_last and not place.own:
                state.notes.append(
                    f"experiment {place.experiment.name!r} was deleted in the target and is active again; its own runs "
                    "stay deleted"
                )


def _match(state: State, runs: Iterable[Run]) -> set[str]:
    """Note which of the target's runs are the snapshot's; the experiments that lack some."""
    lacking, ours = set(), {}
    for run in runs:
        if not state.is_complete(run.run_id):
            lacking.add(run.experiment_id)
        known = state.known(run.run_id)
        if known is None:
            continue
        if known.snapshot != NATIVE:
            ours[run.run_id] = known
        if run.experiment_id in state.places:
            state.places[run.experiment_id].own = True
        if state.is_lost(run):
            state.to_undelete.add(known.run_id)
    state.runs = ours
    return lacking


def _revives(place: Place, state: State, *, lacks: bool) -> bool:
    if place.is_lost:
        return state.undelete
    return lacks or not place.delete_last


def _note_runs(connection: Connection, experiment_id: str, state: State, timestamp: str) -> None:
    for run in search_runs(connection, [experiment_id]):
        run_id, deleted = run.info.run_id, run.info.lifecycle_stage == "deleted"
        state.native.add(run_id)
        if deleted:
            state.native_deleted.add(run_id)
        completed_from = run.data.tags.get(restore_tags.SNAPSHOT, "")
        if completed_from != timestamp:  # what a server refused of this snapshot was told before
            state.extents[run_id] = Extent.of(run.data.params, run.data._metric_objs)
        source = run.data.tags.get(restore_tags.SOURCE_RUN_ID)
        if source is None:
            continue
        known = KnownRun(run_id, completed_from, deleted)
        other = state.runs.get(source)
        if other is None or (known.snapshot and not other.snapshot):
            state.runs[source] = known
        if other is not None:
            state.notes.append(
                f"run {source} is in the target twice ({other.run_id}, {run_id}), as after two restores at "
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
