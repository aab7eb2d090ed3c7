"""Experiments: created, joined, or brought back from deletion; deleted again at the end."""

from __future__ import annotations

from mlmeta.progress import Progress
from mlmeta.schema import EXPERIMENTS
from mlmeta.stores.api import restore_tags
from mlmeta.stores.api.context import RestoreContext, TargetExperiment
from mlmeta.stores.api.existing import search_runs
from mlmeta.stores.api.model_sources import is_elsewhere
from mlmeta.stores.api.name_rules import accepted, experiment_obstacle
from mlmeta.stores.target import deleted_in_target

_KIND = EXPERIMENTS.one


def restore(context: RestoreContext, progress: Progress) -> None:
    """Have an active experiment for each of the snapshot's. Afterwards each one that `is_open` has a `target_id`."""
    progress.phase("restoring experiments")
    for experiment in context.experiments.values():
        with context.refusing(_KIND, experiment.source.name, hint=""):
            _restore(context, experiment)
            continue
        experiment.refused = True  # reached where MLflow refused something


def _restore(context: RestoreContext, experiment: TargetExperiment) -> None:
    name = experiment.source.name
    if not experiment.target_id:
        if reason := experiment_obstacle(name):
            experiment.refused = True
            context.refuse(_KIND, name, reason)
            return
        _create(context, experiment)
        context.created[EXPERIMENTS.counted_as] += 1
        return
    if experiment.is_lost and not context.undelete:
        context.was_there(EXPERIMENTS, name)
        context.refused.append(deleted_in_target(_KIND, name))
        return
    if experiment.revive and context.writes:
        _revive(context, experiment)
    note = context.is_active_again if experiment.revive and not experiment.delete_last else context.was_there
    note(EXPERIMENTS, name)
    if experiment.is_open:
        _add_tags(context, experiment)


def delete_last(context: RestoreContext) -> None:
    """Delete what the snapshot has deleted. The server then marks all runs of it deleted, so some are restored."""
    client = context.connection.client
    for experiment in context.experiments.values():
        if experiment.delete_last and experiment.target_id:
            with context.refusing(_KIND, experiment.source.name, "lifecycle_stage", prefix="not deleted: "):
                client.delete_experiment(experiment.target_id)
    for run_id in context.active_in_deleted:
        client.restore_run(run_id)


def _create(context: RestoreContext, experiment: TargetExperiment) -> None:
    source = experiment.source
    tags = {
        **accepted(_KIND, source.name, restore_tags.without(source.tags), context),
        restore_tags.SOURCE_EXPERIMENT_ID: source.experiment_id,
        restore_tags.SNAPSHOT: context.timestamp,
    }
    if experiment.delete_last:
        tags[restore_tags.TO_DELETE] = context.timestamp
    location = context.rewritten(EXPERIMENTS, source.artifact_location)
    if is_elsewhere(location, context):
        _refuse_location(context, experiment, "a server accepts none on another host")
        location = None
    if context.writes:
        experiment.target_id = _created(context, experiment, location, tags)


def _created(context: RestoreContext, experiment: TargetExperiment, location: str | None, tags: dict[str, str]) -> str:
    """The new experiment's id. Where the server does not take its artifact location, it gets the server's own."""
    from mlflow.exceptions import MlflowException

    client, name = context.connection.client, experiment.source.name
    try:
        return str(client.create_experiment(name, location, tags))
    except MlflowException as error:
        if location is None or error.error_code != "INVALID_PARAMETER_VALUE":
            raise
        target_id = str(client.create_experiment(name, None, tags))
        _refuse_location(context, experiment, context.connection.reason(error))
        return target_id


def _refuse_location(context: RestoreContext, experiment: TargetExperiment, reason: str) -> None:
    name, location = experiment.source.name, experiment.source.artifact_location
    reason = f"its artifact location {location} is not accepted, so the server's own is used: {reason}"
    context.refuse(_KIND, name, reason, "artifact_location")


def _revive(context: RestoreContext, experiment: TargetExperiment) -> None:
    """Make a deleted experiment active.

    The server makes all its runs active too: those that were deleted are deleted again, unless they are to come back.
    """
    client = context.connection.client
    runs = list(search_runs(context.connection, [experiment.target_id]))
    client.restore_experiment(experiment.target_id)
    if experiment.delete_last:
        client.set_experiment_tag(experiment.target_id, restore_tags.TO_DELETE, context.timestamp)
    for run in runs:
        run_id = run.info.run_id
        if run.info.lifecycle_stage == "deleted":
            if not (context.undelete and run_id in context.to_undelete):
                client.delete_run(run_id)
        elif experiment.delete_last:
            context.active_in_deleted.append(run_id)


def _add_tags(context: RestoreContext, experiment: TargetExperiment) -> None:
    """Tags that the target's experiment lacks; those it has stay as they are."""
    client, name = context.connection.client, experiment.source.name
    there = client.get_experiment(experiment.target_id).tags
    lacking = {key: value for key, value in restore_tags.without(experiment.source.tags).items() if key not in there}
    taken = accepted(_KIND, name, lacking, context)
    for key, value in taken.items() if context.writes else ():
        client.set_experiment_tag(experiment.target_id, key, value)
        context.completed.add((_KIND, name, f"tags[{key}]"))
