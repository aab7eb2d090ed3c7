"""Reads what was restored, in the snapshot's ids and order."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator

from mlmeta.schema import (
    EXPERIMENTS,
    Experiment,
    LoggedModel,
    LoggedModelMetric,
    MetricHistory,
    ModelVersion,
    Record,
    RegisteredModel,
    Run,
    Selection,
    Skipped,
    run_order,
)
from mlmeta.snapshot.selected import Selected
from mlmeta.stores.api import restore_tags
from mlmeta.stores.api.context import RestoreContext, TargetExperiment
from mlmeta.stores.api.model_sources import is_same_run, is_same_source
from mlmeta.stores.target import Readback


def read_back(selected: Selected, context: RestoreContext, read: Readback) -> Iterator[Record | Skipped]:
    """The restored part of the target as records of the snapshot.

    Args:
        selected: what was to be restored.
        context: what the restore knows.
        read: reads from the target.
    """
    sources = context.source_runs()
    logged: dict[str, LoggedModel] = {}
    for experiment in context.experiments.values():
        if experiment.target_id:
            selection = Selection(experiments=(experiment.name or experiment.source.name,), models=False)
            location = context.rewritten(EXPERIMENTS, experiment.source.artifact_location)
            items = _apart(read(selection), logged, context)
            yield from _by_source(_translated(items, experiment, location, sources))
    for model in selected.logged_models() if logged else ():
        if model.model_id in logged:
            yield _logged_model(logged[model.model_id], model, context)
    if selected.selection.models:
        wanted = {model.name: model for model in selected.models()}
        for item in read(Selection(runs=False)):
            if isinstance(item, RegisteredModel) and item.name in wanted:
                yield _model(item, wanted[item.name], context)


def _apart(
    items: Iterable[Record | Skipped], logged: dict[str, LoggedModel], context: RestoreContext
) -> Iterator[Record | Skipped]:
    """All but the logged models, which go into `logged` by their id in the snapshot."""
    sources = {target_id: source for source, (target_id, _) in context.logged_models.items()}
    for item in items:
        if isinstance(item, LoggedModel):
            logged[sources.get(item.model_id, item.model_id)] = item
        else:
            yield item


def _translated(
    items: Iterable[Record | Skipped], experiment: TargetExperiment, location: str | None, sources: dict[str, str]
) -> Iterator[Record | Skipped]:
    for item in items:
        if isinstance(item, Experiment):
            yield _experiment(item, experiment, location)
        elif isinstance(item, Run):
            yield _run(item, experiment, sources)
        elif isinstance(item, MetricHistory):
            yield item.model_copy(update={"run_id": sources.get(item.run_id, item.run_id)})
        else:
            yield item


def _experiment(record: Experiment, experiment: TargetExperiment, location: str | None) -> Experiment:
    """Tags that only the target has don't count: a restore adds, it never removes."""
    source = experiment.source
    tags = {k: v for k, v in record.tags.items() if k in source.tags}
    update: dict[str, object] = {"experiment_id": source.experiment_id, "tags": tags}
    if experiment.joined or record.artifact_location == location:
        update |= {"artifact_location": source.artifact_location}
    if experiment.joined and not experiment.deleted:  # it was there before, and keeps its state
        update |= {"lifecycle_stage": source.lifecycle_stage}
    return record.model_copy(update=update)


def _run(record: Run, experiment: TargetExperiment, sources: dict[str, str]) -> Run:
    """Runs of others stay as they are; nothing in the snapshot is compared with them."""
    tags = restore_tags.without(record.tags)
    if parent := tags.get(restore_tags.PARENT_RUN_ID):
        tags[restore_tags.PARENT_RUN_ID] = sources.get(parent, parent)
    return record.model_copy(
        update={
            "run_id": sources.get(record.run_id, record.run_id),
            "experiment_id": experiment.source.experiment_id,
            "tags": tags,
        }
    )


def _by_source(items: Iterable[Record | Skipped]) -> Iterator[Record | Skipped]:
    """Runs that began at the same time, in the order of their ids in the snapshot."""
    blocks = _blocks(items)
    for _, ties in itertools.groupby(blocks, key=_start):
        for block in sorted(ties, key=_order):
            yield from block


def _blocks(items: Iterable[Record | Skipped]) -> Iterator[list[Record | Skipped]]:
    """Each run with what belongs to it."""
    block: list[Record | Skipped] = []
    for item in items:
        if not isinstance(item, MetricHistory) and block:
            yield block
            block = []
        block.append(item)
    if block:
        yield block


def _start(block: list[Record | Skipped]) -> tuple[str, int | None]:
    first = block[0]
    return ("run", first.start_time) if isinstance(first, Run) else (type(first).__name__, None)


def _order(block: list[Record | Skipped]) -> tuple[bool, int, str]:
    first = block[0]
    return run_order(first) if isinstance(first, Run) else (False, 0, "")


def _model(record: RegisteredModel, source: RegisteredModel, context: RestoreContext) -> RegisteredModel:
    numbers = {version.version: version for version in source.versions}
    versions = (version for version in record.versions if version.version in numbers)
    return record.model_copy(
        update={
            "tags": {k: v for k, v in record.tags.items() if k in source.tags},
            "aliases": {k: v for k, v in record.aliases.items() if k in source.aliases},
            "versions": tuple(_version(version, numbers[version.version], context) for version in versions),
        }
    )


def _version(record: ModelVersion, source: ModelVersion, context: RestoreContext) -> ModelVersion:
    """References are compared as they were re-pointed: what was to be there counts as the snapshot's own."""
    update: dict[str, object] = {"tags": {k: v for k, v in record.tags.items() if k in source.tags}}
    if is_same_source(record.source, record.tags, source, context):
        update["source"] = source.source
    if is_same_run(record.run_id, source, context):
        update["run_id"] = source.run_id
    return record.model_copy(update=update)


def _logged_model(found: LoggedModel, source: LoggedModel, context: RestoreContext) -> LoggedModel:
    """A logged model of the target in the snapshot's ids."""
    runs = context.source_runs()
    return found.model_copy(
        update={
            "model_id": source.model_id,
            "experiment_id": source.experiment_id,
            "creation_timestamp": source.creation_timestamp,
            "source_run_id": runs.get(found.source_run_id or "", found.source_run_id),
            "tags": {k: v for k, v in found.tags.items() if k in source.tags},
            "metrics": tuple(_sorted_metrics(found, runs)),
        }
    )


def _sorted_metrics(model: LoggedModel, runs: dict[str, str]) -> list[LoggedModelMetric]:
    """The metrics of a logged model, in the snapshot's run ids and order."""
    metrics = [m.model_copy(update={"run_id": runs.get(m.run_id, m.run_id)}) for m in model.metrics]
    return sorted(metrics, key=lambda m: (m.key, m.step, m.timestamp, m.run_id))
