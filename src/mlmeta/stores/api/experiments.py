"""Experiments through the API, deleted ones included.

A restore creates or joins them, or brings them back from deletion, and deletes them again at the end.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import chain
from typing import Any

from mlmeta.errors import UsageError
from mlmeta.parallel import ordered_map
from mlmeta.progress import Progress
from mlmeta.schema import EXPERIMENTS, Experiment, Skipped
from mlmeta.stores.api import entities as convert
from mlmeta.stores.api import restore_tags
from mlmeta.stores.api.connection import LIST_EXPERIMENTS, Connection, unreadable
from mlmeta.stores.api.context import RestoreContext, TargetExperiment
from mlmeta.stores.api.existing import search_runs
from mlmeta.stores.api.file_store import FileStore
from mlmeta.stores.api.model_sources import is_elsewhere
from mlmeta.stores.api.name_rules import accepted, experiment_obstacle
from mlmeta.stores.api.paging import PAGE, Search, experiments_page
from mlmeta.stores.api.workspaces import named
from mlmeta.stores.target import deleted_in_target

_KIND = EXPERIMENTS.one


def read(connections: Sequence[Connection], names: tuple[str, ...] = ()) -> tuple[list[Experiment], list[Skipped]]:
    """Experiments by id, and what can't be read of them.

    Args:
        connections: to the store, one for each workspace that is meant.
        names: of those that are wanted; empty: all.

    Raises:
        UsageError: one does not exist in any of the workspaces.
        ConnectionFailedError: one can't be read.
    """
    found: dict[str, Experiment] = {}
    skipped: list[Skipped] = []
    for item in _wanted(connections, names) if names else chain.from_iterable(map(_all, connections)):
        if isinstance(item, Skipped):
            skipped.append(item)
        elif found.setdefault(item.experiment_id, item) != item:
            reason = "the server returned two with that id"
            skipped.append(Skipped(kind=EXPERIMENTS.one, id=item.experiment_id, reason=reason))
    return sorted(found.values(), key=EXPERIMENTS.order), skipped


def _wanted(connections: Sequence[Connection], names: Iterable[str]) -> Iterator[Experiment]:
    """The experiments of these names, each in all workspaces that have one of that name."""
    for name in dict.fromkeys(names):
        found = [one for one in (_named(connection, name) for connection in connections) if one is not None]
        if not found:
            raise UsageError(
                f"there is no experiment {name!r} at {connections[0].name}",
                hint="check the spelling: upper and lower case differ",
            )
        yield from found


def _all(connection: Connection) -> Iterator[Experiment | Skipped]:
    if connection.kind == "files":
        yield from FileStore(connection).experiments()
        return
    search = Search(
        connection,
        EXPERIMENTS.one,
        ask=partial(_listed if connection.only_lists else experiments_page, connection),
        key=lambda entity: entity.experiment_id,
        lost=str,
        size=PAGE,
    )
    for entity in search:
        read = partial(convert.experiment, entity, connection.place)
        yield connection.read_or_skip(EXPERIMENTS.one, str(entity.experiment_id), read)
    yield from (named(skipped, connection.place) for skipped in search.skipped)


def _listed(connection: Connection, token: str | None, size: int) -> Any:
    """A page of experiments of a server before MLflow 1.28, for which today's client has no call."""
    from mlflow.entities import Experiment as Entity
    from mlflow.protos.service_pb2 import SearchExperiments
    from mlflow.store.entities import PagedList
    from mlflow.utils.proto_json_utils import parse_dict
    from mlflow.utils.rest_utils import verify_rest_response

    params = {"view_type": "ALL", "max_results": size, **({"page_token": token} if token else {})}
    reply = verify_rest_response(connection.request("GET", LIST_EXPERIMENTS, params=params), LIST_EXPERIMENTS)
    found = SearchExperiments.Response()
    parse_dict(reply.json(), found)
    return PagedList([Entity.from_proto(one) for one in found.experiments], found.next_page_token or None)


def _named(connection: Connection, name: str) -> Experiment | None:
    return _file_named(connection, name) if connection.kind == "files" else _entity_named(connection, name)


def _entity_named(connection: Connection, name: str) -> Experiment | None:
    try:
        entity = connection.client.get_experiment_by_name(name)
        return convert.experiment(entity, connection.place) if entity is not None else None
    except unreadable() as error:
        raise connection.failure(error) from error


def _file_named(connection: Connection, name: str) -> Experiment | None:
    found = (item for item in FileStore(connection).experiments() if not isinstance(item, Skipped))
    return next((experiment for experiment in found if experiment.name == name), None)


def restore(context: RestoreContext, progress: Progress) -> None:
    """Have an active experiment for each of the snapshot's. Afterwards each one that `is_open` has a `target_id`."""
    progress.phase("restoring experiments")
    for experiment in context.experiments.values():
        with context.refusing(_KIND, experiment.title, hint=""):
            _restore(context, experiment)
            continue
        experiment.refused = True  # reached where MLflow refused something


def _restore(context: RestoreContext, experiment: TargetExperiment) -> None:
    name = experiment.title
    if not experiment.target_id:
        if reason := experiment_obstacle(experiment.source.name):
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
    if experiment.is_open and context.selected.picked is None:  # else it is there for one of its runs
        _add_tags(context, experiment)


def delete_last(context: RestoreContext) -> None:
    """Delete what the snapshot has deleted. The server then marks all runs of it deleted, so some are restored."""
    client = context.connection.client
    for experiment in context.experiments.values():
        if experiment.delete_last and experiment.target_id:
            with context.refusing(_KIND, experiment.title, "lifecycle_stage", prefix="not deleted: "):
                client.delete_experiment(experiment.target_id)
    for run_id in context.active_in_deleted:
        client.restore_run(run_id)


def expected(own: Experiment, found: Experiment, context: RestoreContext) -> Experiment:
    """An experiment of the snapshot as the target should give it back."""
    there = context.experiments[own.experiment_id]
    update: dict[str, object] = {}
    if there.joined or found.artifact_location == context.rewritten(EXPERIMENTS, own.artifact_location):
        update["artifact_location"] = found.artifact_location
    if there.joined and not there.deleted:  # it was there before, and keeps its state
        update["lifecycle_stage"] = found.lifecycle_stage
    return restore_tags.with_those_of(found, own).model_copy(update=update)


def _create(context: RestoreContext, experiment: TargetExperiment) -> None:
    source = experiment.source
    tags = {
        **accepted(_KIND, experiment.title, restore_tags.without(source.tags), context),
        restore_tags.SOURCE_EXPERIMENT_ID: source.experiment_id,
        restore_tags.SNAPSHOT: context.timestamp,
    }
    if experiment.delete_last:
        tags[restore_tags.TO_DELETE] = context.timestamp
    location = context.rewritten(EXPERIMENTS, source.artifact_location)
    if context.has_workspaces:
        tags |= {restore_tags.SOURCE_ARTIFACT_URI: location} if location else {}
        location = None
    elif is_elsewhere(location, context):
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
    name, location = experiment.title, experiment.source.artifact_location
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
    deleted = {run.info.run_id for run in runs if run.info.lifecycle_stage == "deleted"}
    staying = deleted - context.to_undelete if context.undelete else deleted
    for _ in ordered_map(context.executor, client.delete_run, staying, 4 * context.jobs):
        pass  # many at once, as all are active until then
    if experiment.delete_last:
        context.active_in_deleted += [run.info.run_id for run in runs if run.info.run_id not in deleted]


def _add_tags(context: RestoreContext, experiment: TargetExperiment) -> None:
    """Tags that the target's experiment lacks; those it has stay as they are."""
    client, name = context.connection.client, experiment.title
    there = client.get_experiment(experiment.target_id).tags
    lacking = {key: value for key, value in restore_tags.without(experiment.source.tags).items() if key not in there}
    taken = accepted(_KIND, name, lacking, context)
    for key, value in taken.items() if context.writes else ():
        client.set_experiment_tag(experiment.target_id, key, value)
        context.completed.add((_KIND, name, f"tags[{key}]"))
