"""What the target has already: its experiments and runs, looked at before anything is written."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from functools import partial
from operator import attrgetter
from typing import Any

from mlmeta.schema import EXPERIMENTS, RUNS, Experiment, Run
from mlmeta.schema.runs import PARENT_RUN_ID
from mlmeta.stores.api import entities as convert
from mlmeta.stores.api import restore_tags, trace_restore
from mlmeta.stores.api.connection import Connection, release
from mlmeta.stores.api.context import NATIVE, Extent, RestoreContext, TargetExperiment, TargetRun
from mlmeta.stores.api.model_sources import STRICT_SINCE
from mlmeta.stores.api.otlp import Sender
from mlmeta.stores.api.paging import entities_of, experiments_page, runs_page
from mlmeta.stores.api.spans import shows_spans


def survey(context: RestoreContext) -> None:
    """Note what the target has of the selected experiments and their runs; of all, where only models are selected.

    Args:
        context: fresh; afterwards it says which deleted experiments have to be made active.
    """
    selected, connection = context.selected, context.connection
    version = release(connection.within(None).server_version())
    context.is_strict, context.sender = version is None or version >= STRICT_SINCE, Sender(version)
    context.shows_spans = shows_spans(version)
    by_name = {entity.name: entity for entity in ([] if context.is_planned else _all_experiments(connection))}
    by_identity = {(str(entity.experiment_id), entity.creation_time): entity for entity in by_name.values()}
    context.root = _root(by_name.values())
    wanted = selected.experiments() if selected.selection.means(EXPERIMENTS) else _in_its_workspace(context)
    for source in wanted:
        entity = by_identity.get(_identity(source)) or by_name.get(source.name)
        experiment = _target_experiment(source, entity, context.timestamp)
        context.experiments[source.experiment_id] = experiment
        if experiment.target_id:
            _note_runs(context, experiment.target_id)
    for source in _in_its_workspace(context) if selected.picked is not None else ():  # a prompt may name any
        entity = by_identity.get(_identity(source)) or by_name.get(source.name)
        context.known_experiments[source.experiment_id] = _target_experiment(source, entity, context.timestamp)
    _settle(context, trace_restore.survey(context))


def _root(entities: Collection[Any]) -> str:
    """The artifact location of the Default experiment; another workspace has none of its id."""
    default = [entity for entity in entities if str(entity.experiment_id) == "0"]
    return next((entity.artifact_location for entity in default or entities), "") or ""


def _in_its_workspace(context: RestoreContext) -> Iterator[Experiment]:
    """All experiments of the snapshot that are in the workspace which is restored."""
    found = context.selected.snapshot.records(EXPERIMENTS)
    return (experiment for experiment in found if experiment.workspace == context.workspace)


def _target_experiment(source: Experiment, entity: Any, timestamp: str) -> TargetExperiment:
    deleted = source.lifecycle_stage == "deleted"
    if entity is None:
        return TargetExperiment(source, delete_last=deleted)
    tags = dict(entity.tags)
    gone = entity.lifecycle_stage == "deleted"
    joined = tags.get(restore_tags.SOURCE_EXPERIMENT_ID) != source.experiment_id
    return TargetExperiment(
        source,
        target_id=str(entity.experiment_id),
        name=entity.name,
        joined=joined,
        own=not joined or _identity(source) == (str(entity.experiment_id), entity.creation_time),
        deleted=gone,
        delete_last=deleted and (gone or tags.get(restore_tags.TO_DELETE) == timestamp),
    )


def _identity(source: Experiment) -> tuple[str, int | None]:
    """What tells an experiment from another one of that name; one without a time of creation has none."""
    return (source.experiment_id if source.creation_time else "", source.creation_time)


def _note_runs(context: RestoreContext, experiment_id: str) -> None:
    for run in search_runs(context.connection, [experiment_id]):
        run_id, deleted = run.info.run_id, run.info.lifecycle_stage == "deleted"
        context.native.add(run_id)
        if deleted:
            context.native_deleted.add(run_id)
        completed_from = run.data.tags.get(restore_tags.SNAPSHOT, "")
        if completed_from != context.timestamp:  # what a server refused of this snapshot was told before
            context.extents[run_id] = Extent.of(run.data.params, run.data._metric_objs)
        context.nested.update(filter(None, [run.data.tags.get(PARENT_RUN_ID)]))
        if models := convert.models_of_run(run):
            context.used_models[run_id] = models
        source = run.data.tags.get(restore_tags.SOURCE_RUN_ID)
        if source is not None:
            _note_restored(context, source, TargetRun(run_id, completed_from, deleted))


def _note_restored(context: RestoreContext, source: str, found: TargetRun) -> None:
    other = context.runs.get(source)
    if other is None or (found.snapshot and not other.snapshot):
        context.runs[source] = found
    if other is not None:
        context.notes.append(
            f"run {source} is in the target twice ({other.run_id}, {found.run_id}), as after two restores at "
            "once: delete the one without metrics"
        )


def _settle(context: RestoreContext, lacking: set[str]) -> None:
    """Decide which deleted experiments have to be made active, and forget runs of other snapshots.

    Args:
        context: of which the runs are known.
        lacking: experiments that lack something else than runs.

    One that is deleted in the target comes back for what the snapshot has active only if it is not the snapshot's own:
    who deleted that one meant it, and says so (`RestoreContext.undelete`) to have it back.
    """
    lacking = lacking | _match(context, context.selected.snapshot.records(RUNS))
    for source_id, experiment in context.experiments.items():
        if experiment.deleted:
            lacks = source_id in lacking or not experiment.delete_last
            experiment.revive = context.undelete if experiment.is_lost else lacks
            experiment.delete_last = experiment.delete_last and experiment.revive
            if experiment.revive and not experiment.delete_last and not experiment.own:
                context.notes.append(
                    f"experiment {experiment.source.name!r} was deleted in the target and is active again; its own "
                    "runs stay deleted"
                )


def _match(context: RestoreContext, runs: Iterable[Run]) -> set[str]:
    """Note which of the target's runs are the snapshot's; the experiments that lack some."""
    lacking, ours = set(), {}
    for run in runs:
        found, is_meant = context.target_run(run.run_id), context.selected.has(RUNS, run)
        if is_meant and (found is None or not found.snapshot):
            lacking.add(run.experiment_id)
        if found is None:
            continue
        if found.snapshot != NATIVE:
            ours[run.run_id] = found
        if run.experiment_id in context.experiments:
            context.experiments[run.experiment_id].own = True
        if is_meant and found.is_lost(run.lifecycle_stage):
            context.to_undelete.add(found.run_id)
    context.runs = ours
    return lacking


def has_foreign_runs(context: RestoreContext) -> bool:
    """Whether the target has a run that is not of this snapshot."""
    ours = {found.run_id for found in context.runs.values()}
    if context.native - ours or context.is_planned:
        return not context.is_planned
    return any(run.info.run_id not in ours for run in all_runs(context.connection))


def all_runs(connection: Connection) -> Iterator[Any]:
    """All runs of the target, as entities."""
    ids = [str(entity.experiment_id) for entity in _all_experiments(connection)]
    for start in range(0, len(ids), 100):
        yield from search_runs(connection, ids[start : start + 100])


def search_runs(connection: Connection, experiment_ids: list[str]) -> Iterator[Any]:
    """Runs of experiments, active and deleted, all pages."""
    return entities_of(partial(runs_page, connection, experiment_ids), key=lambda run: run.info.run_id)


def _all_experiments(connection: Connection) -> Iterator[Any]:
    return entities_of(partial(experiments_page, connection), key=attrgetter("experiment_id"))
