"""Experiments: created, joined, or brought back from deletion; deleted again at the end."""

from __future__ import annotations

from mlmeta.stores.api import diagnosis, restore_tags
from mlmeta.stores.api.connection import Connection
from mlmeta.stores.api.context import Place, State
from mlmeta.stores.api.existing import search_runs
from mlmeta.stores.api.model_sources import is_elsewhere
from mlmeta.stores.api.name_rules import accepted, experiment_obstacle
from mlmeta.stores.target import deleted_in_target


def prepare(connection: Connection, state: State, timestamp: str, *, writes: bool = True) -> None:
    """Make an active experiment for each place. Afterwards each place that `is_open` has a `target_id`.

    Args:
        connection: to the target.
        state: of the restore, settled.
        timestamp: the snapshot's.
        writes: whether anything is written; if not, `state` says afterwards what would be.
    """
    from mlflow.exceptions import MlflowException

    for place in state.places.values():
        try:
            _prepare(connection, state, place, timestamp, writes=writes)
        except MlflowException as error:
            connection.check()
            _refuse(state, place, connection.reason(error), diagnosis.advice(error, ""))


def _prepare(connection: Connection, state: State, place: Place, timestamp: str, *, writes: bool) -> None:
    if not place.target_id:
        if reason := experiment_obstacle(place.experiment.name):
            _refuse(state, place, reason)
            return
        _create(connection, state, place, timestamp, writes=writes)
        state.created["experiments"] += 1
        return
    if place.is_lost and not state.undelete:
        state.was_there("experiments", "experiment", place.experiment.name)
        state.refused.append(deleted_in_target("experiment", place.experiment.name))
        return
    if place.revive and writes:
        _revive(connection, state, place, timestamp)
    note = state.is_active_again if place.revive and not place.delete_last else state.was_there
    note("experiments", "experiment", place.experiment.name)
    if place.is_open:
        _add_tags(connection, state, place, writes=writes)


def _refuse(state: State, place: Place, reason: str, hint: str = "") -> None:
    place.refused = True
    state.refuse("experiment", place.experiment.name, reason, hint=hint)


def finish(connection: Connection, state: State) -> None:
    """Delete what the snapshot has deleted. The server then marks all runs of it deleted, so some are restored."""
    from mlflow.exceptions import MlflowException

    for place in state.places.values():
        if place.delete_last and place.target_id:
            try:
                connection.client.delete_experiment(place.target_id)
            except MlflowException as error:
                connection.check()
                state.refuse(
                    "experiment", place.experiment.name, f"not deleted: {connection.reason(error)}", "lifecycle_stage"
                )
    for run_id in state.active_in_deleted:
        connection.client.restore_run(run_id)


def _create(connection: Connection, state: State, place: Place, timestamp: str, *, writes: bool) -> None:
    experiment = place.experiment
    tags = {
        **accepted("experiment", experiment.name, restore_tags.without(experiment.tags), state),
        restore_tags.SOURCE_EXPERIMENT_ID: experiment.experiment_id,
        restore_tags.SNAPSHOT: timestamp,
    }
    if place.delete_last:
        tags[restore_tags.TO_DELETE] = timestamp
    location = state.rewritten("experiments", experiment.artifact_location)
    if is_elsewhere(location, state):
        _refuse_location(state, place, "a server accepts none on another host")
        location = None
    if writes:
        place.target_id = _created(connection, state, place, location, tags)


def _created(connection: Connection, state: State, place: Place, location: str | None, tags: dict[str, str]) -> str:
    """The new experiment's id. Where the server does not take its artifact location, it gets the server's own."""
    from mlflow.exceptions import MlflowException

    name = place.experiment.name
    try:
        return str(connection.client.create_experiment(name, location, tags))
    except MlflowException as error:
        if location is None or error.error_code != "INVALID_PARAMETER_VALUE":
            raise
        target_id = str(connection.client.create_experiment(name, None, tags))
        _refuse_location(state, place, connection.reason(error))
        return target_id


def _refuse_location(state: State, place: Place, reason: str) -> None:
    name, location = place.experiment.name, place.experiment.artifact_location
    reason = f"its artifact location {location} is not accepted, so the server's own is used: {reason}"
    state.refuse("experiment", name, reason, "artifact_location")


def _revive(connection: Connection, state: State, place: Place, timestamp: str) -> None:
    """Make a deleted experiment active.

    The server makes all its runs active too: those that were deleted are deleted again, unless they are to come back.
    """
    runs = list(search_runs(connection, [place.target_id]))
    connection.client.restore_experiment(place.target_id)
    if place.delete_last:
        connection.client.set_experiment_tag(place.target_id, restore_tags.TO_DELETE, timestamp)
    for run in runs:
        run_id = run.info.run_id
        if run.info.lifecycle_stage == "deleted":
            if not (state.undelete and run_id in state.to_undelete):
                connection.client.delete_run(run_id)
        elif place.delete_last:
            state.active_in_deleted.append(run_id)


def _add_tags(connection: Connection, state: State, place: Place, *, writes: bool) -> None:
    """Tags that the target's experiment lacks; those it has stay as they are."""
    there = connection.client.get_experiment(place.target_id).tags
    lacking = {key: value for key, value in restore_tags.without(place.experiment.tags).items() if key not in there}
    taken = accepted("experiment", place.experiment.name, lacking, state)
    for key, value in taken.items() if writes else ():
        connection.client.set_experiment_tag(place.target_id, key, value)
        state.completed.add(("experiment", place.experiment.name, f"tags[{key}]"))
