"""Experiments: created, joined, or brought back from deletion; deleted again at the end."""

from __future__ import annotations

from mlmeta.restorer.api import marks
from mlmeta.restorer.api.state import Place, State
from mlmeta.restorer.api.survey import search_runs
from mlmeta.tracking.connection import Connection


def prepare(connection: Connection, state: State, timestamp: str) -> None:
    """Make an active experiment for each place. Afterwards each place that can be filled has a `target_id`."""
    from mlflow.exceptions import MlflowException

    for place in state.places.values():
        name = place.experiment.name
        try:
            if not place.target_id:
                _create(connection, state, place, timestamp)
                state.created["experiments"] += 1
                continue
            state.was_there("experiments", "experiment", name)
            if place.revive:
                _revive(connection, state, place, timestamp)
                if not place.delete_last:
                    state.notes.append(
                        f"experiment {name!r} was deleted in the target and is active again; its own runs stay deleted"
                    )
            if place.revive or not place.deleted:
                _add_tags(connection, place)
        except MlflowException as error:
            connection.check()
            state.refuse("experiment", name, connection.reason(error))


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


def _create(connection: Connection, state: State, place: Place, timestamp: str) -> None:
    experiment = place.experiment
    tags = {
        **marks.without(experiment.tags),
        marks.SOURCE_EXPERIMENT_ID: experiment.experiment_id,
        marks.SNAPSHOT: timestamp,
    }
    if place.delete_last:
        tags[marks.TO_DELETE] = timestamp
    location = state.rewritten("experiments", experiment.artifact_location)
    place.target_id = connection.client.create_experiment(experiment.name, location, tags)


def _revive(connection: Connection, state: State, place: Place, timestamp: str) -> None:
    """Make a deleted experiment active. The server makes all its runs active too: those are deleted again."""
    runs = list(search_runs(connection, [place.target_id]))
    connection.client.restore_experiment(place.target_id)
    if place.delete_last:
        connection.client.set_experiment_tag(place.target_id, marks.TO_DELETE, timestamp)
    for run in runs:
        if run.info.lifecycle_stage == "deleted":
            connection.client.delete_run(run.info.run_id)
        elif place.delete_last:
            state.active_in_deleted.append(run.info.run_id)


def _add_tags(connection: Connection, place: Place) -> None:
    """Tags that the target's experiment lacks; those it has stay as they are."""
    there = connection.client.get_experiment(place.target_id).tags
    for key, value in marks.without(place.experiment.tags).items():
        if key not in there:
            connection.client.set_experiment_tag(place.target_id, key, value)
