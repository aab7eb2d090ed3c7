"""Reads back what was restored, in the snapshot's ids and order."""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from mlmeta.progress import Silent
from mlmeta.schema import (
    EXPERIMENTS,
    HISTORIES,
    LOGGED_MODELS,
    MODELS,
    RUNS,
    Experiment,
    LoggedModel,
    ModelVersion,
    RegisteredModel,
    Run,
    Selection,
    Skipped,
    experiment_order,
    kind_of,
)
from mlmeta.snapshot.compare import Item, Pair, bare, merge_join, with_histories
from mlmeta.snapshot.order import place
from mlmeta.snapshot.reader import RunLines
from mlmeta.snapshot.selected import Selected
from mlmeta.stores.api import restore_tags
from mlmeta.stores.api.context import RestoreContext, TargetExperiment
from mlmeta.stores.api.model_sources import is_same_run, is_same_source
from mlmeta.stores.source import Source, SourceItem


class ReadBack:
    """The snapshot's records beside the target's, in the snapshot's ids.

    What a restore had to write otherwise, or left as it was, is expected so. Runs of others stay as they are: nothing
    in the snapshot is compared with them.

    Args:
        selected: what was to be restored.
        context: what the restore knows.
        source: reads from the target.
    """

    def __init__(self, selected: Selected, context: RestoreContext, source: Source) -> None:
        self._selected = selected
        self._context = context
        self._source = source
        self._runs = context.source_runs()
        self._models = {target_id: own for own, (target_id, _) in context.logged_models.items()}
        self._logged: dict[str, LoggedModel] = {}
        self._skipped: deque[Skipped] = deque()

    def pairs(self) -> Iterator[Pair | Skipped]:
        """All of them: each experiment with its runs, then logged models, then registered models."""
        selected = self._selected
        ours: Iterator[Item] = heapq.merge(selected.experiments(), selected.runs_with_lines(), key=_order)
        for own, found in merge_join(ours, self._experiments_and_runs(), _order):
            yield self._pair(own, found)
            yield from self._taken()
        for model in selected.logged_models():
            yield self._pair(model, self._logged.get(model.model_id))
        if selected.selection.models:
            for mine, theirs in merge_join(selected.models(), self._registered_models(), MODELS.order):
                yield self._pair(mine, theirs)
        yield from self._taken()

    def _pair(self, own: Item | None, found: Item | None) -> Pair:
        """A pair, with what is expected of the target where there is something on both sides."""
        if own is None or found is None:
            return Pair(own, found)
        expect: dict[str, Callable[[Any, Any], Item]] = {
            EXPERIMENTS.name: self._expected_experiment,
            RUNS.name: _expected_run,
            LOGGED_MODELS.name: _with_further_tags,
            MODELS.name: self._expected_model,
        }
        return Pair(own, found, expect[kind_of(bare(own)).name](own, found))

    def _taken(self) -> Iterator[Skipped]:
        while self._skipped:
            yield self._skipped.popleft()

    def _experiments_and_runs(self) -> Iterator[Item]:
        """The target's; its logged models wait in `_logged`, by their id in the snapshot."""
        for experiment in self._context.experiments.values():
            if not experiment.target_id:
                continue
            selection = Selection(experiments=(experiment.name or experiment.source.name,), models=False)
            items = (self._in_own_ids(item, experiment) for item in self._source.read(selection, Silent()))
            for _, ties in itertools.groupby(with_histories(items), _start):
                yield from sorted(self._taken_apart(ties), key=_order)

    def _taken_apart(self, items: Iterable[Item | Skipped]) -> Iterator[Item]:
        for item in items:
            if isinstance(item, Skipped):
                self._skipped.append(item)
            elif isinstance(item, LoggedModel):
                self._logged[item.model_id] = item
            else:
                yield item

    def _registered_models(self) -> Iterator[Item]:
        return self._taken_apart(with_histories(self._source.read(Selection(runs=False), Silent())))

    def _in_own_ids(self, item: SourceItem, experiment: TargetExperiment) -> SourceItem:
        if isinstance(item, Skipped):
            return item
        update: dict[str, object] = {"experiment_id": experiment.source.experiment_id}
        if isinstance(item, HISTORIES):
            return item.record().model_copy(update={"run_id": self._runs.get(item.run_id, item.run_id)})
        if isinstance(item, Run):
            tags = restore_tags.without(item.tags)
            if parent := tags.get(restore_tags.PARENT_RUN_ID):
                tags[restore_tags.PARENT_RUN_ID] = self._runs.get(parent, parent)
            update |= {"run_id": self._runs.get(item.run_id, item.run_id), "tags": tags}
        elif isinstance(item, LoggedModel):
            metrics = (m.model_copy(update={"run_id": self._runs.get(m.run_id, m.run_id)}) for m in item.metrics)
            update |= {
                "model_id": self._models.get(item.model_id, item.model_id),
                "source_run_id": self._runs.get(item.source_run_id or "", item.source_run_id),
                "metrics": tuple(sorted(metrics, key=lambda m: (m.key, m.step, m.timestamp, m.run_id))),
            }
        return item.model_copy(update=update)

    def _expected_experiment(self, own: Experiment, found: Experiment) -> Experiment:
        there = self._context.experiments[own.experiment_id]
        update: dict[str, object] = {}
        location = self._context.rewritten(EXPERIMENTS, own.artifact_location)
        if there.joined or found.artifact_location == location:
            update["artifact_location"] = found.artifact_location
        if there.joined and not there.deleted:  # it was there before, and keeps its state
            update["lifecycle_stage"] = found.lifecycle_stage
        return _with_further_tags(own, found).model_copy(update=update)

    def _expected_model(self, own: RegisteredModel, found: RegisteredModel) -> RegisteredModel:
        theirs = {version.version: version for version in found.versions}
        versions = tuple(
            self._expected_version(version, theirs[version.version]) if version.version in theirs else version
            for version in own.versions
        )
        update = {"aliases": {**found.aliases, **own.aliases}, "versions": versions}
        return _with_further_tags(own, found).model_copy(update=update)

    def _expected_version(self, own: ModelVersion, found: ModelVersion) -> ModelVersion:
        """References are compared as they were re-pointed."""
        update: dict[str, object] = {}
        if is_same_source(found.source, found.tags, own, self._context):
            update["source"] = found.source
        if is_same_run(found.run_id, own, self._context):
            update["run_id"] = found.run_id
        return _with_further_tags(own, found).model_copy(update=update)


Tagged = TypeVar("Tagged", Experiment, LoggedModel, RegisteredModel, ModelVersion)


def _with_further_tags(own: Tagged, found: Tagged) -> Tagged:
    """Tags that only the target has don't count: a restore adds, it never removes."""
    return own.model_copy(update={"tags": dict(sorted({**found.tags, **own.tags}.items()))})


def _expected_run(own: RunLines, found: RunLines) -> RunLines:
    """A server makes up a name for a run without one."""
    if own.run.run_name:
        return own
    return RunLines(own.run.model_copy(update={"run_name": found.run.run_name}), own.lines)


def _order(item: Item) -> tuple[Any, ...]:
    """Each experiment, then its runs."""
    record: Any = bare(item)
    return experiment_order(record.experiment_id), place(item)


def _start(item: Item | Skipped) -> tuple[bool, int | None]:
    """Runs that began at the same time are in the order of the target's ids."""
    return (True, item.run.start_time) if isinstance(item, RunLines) else (False, None)
