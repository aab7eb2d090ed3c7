"""Reads back what was restored, in the snapshot's ids and order."""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

from mlmeta.progress import Silent
from mlmeta.schema import (
    DATASET_RECORDS,
    DEFAULT_WORKSPACE,
    EVALUATION_DATASETS,
    EXPERIMENTS,
    LOGGED_MODELS,
    MODEL_GROUP,
    MODELS,
    RUNS,
    SPANS,
    TRACES,
    HistoryLine,
    MetricHistory,
    Record,
    Selection,
    Skipped,
    SpanLine,
    experiment_order,
    kind_of,
)
from mlmeta.snapshot.compare import Item, Pair, merge_join, with_followers
from mlmeta.snapshot.order import place
from mlmeta.snapshot.reader import bare
from mlmeta.stores.api import (
    dataset_restore,
    experiments,
    logged_model_restore,
    registered_model_restore,
    runs,
    trace_records,
)
from mlmeta.stores.api.context import RestoreContext, SourceIds, TargetExperiment
from mlmeta.stores.api.trace_records import NOT_SHOWN
from mlmeta.stores.source import Source, SourceItem

_IN_OWN_IDS: dict[str, Callable[[Any, TargetExperiment, SourceIds], Record]] = {
    RUNS.name: runs.in_own_ids,
    LOGGED_MODELS.name: logged_model_restore.in_own_ids,
    TRACES.name: trace_records.in_own_ids,
}
_EXPECTED: dict[str, Callable[[Any, Any, RestoreContext], Item]] = {
    EXPERIMENTS.name: experiments.expected,
    RUNS.name: runs.expected,
    LOGGED_MODELS.name: logged_model_restore.expected,
    TRACES.name: trace_records.expected,
    MODELS.name: registered_model_restore.expected,
}


_BY_THEMSELVES = (EVALUATION_DATASETS.name, DATASET_RECORDS.name)
"""What is not read back with each experiment: it may belong to several, or none."""


class ReadBack:
    """The snapshot's records beside the target's, in the snapshot's ids.

    What a restore had to write otherwise, or left as it was, is expected so. Runs of others stay as they are: nothing
    in the snapshot is compared with them.

    Args:
        context: what the restore knows of a workspace.
        source: reads from the target.
    """

    def __init__(self, context: RestoreContext, source: Source) -> None:
        self._selected = selected = context.selected
        self._context = context
        self._source = source
        place = context.connection.place or DEFAULT_WORKSPACE
        self._workspaces = (place,) if context.has_workspaces else ()
        without = (*selected.selection.without, MODEL_GROUP, *_BY_THEMSELVES)
        if selected.picked is not None and not selected.picked.keys[TRACES.name]:
            without = (*without, TRACES.name)
        self._in_experiments = replace(
            selected.selection, without=without, workspaces=self._workspaces, runs=self._runs(), models=()
        )
        self._ids = context.source_ids()
        self._logged: dict[str, Item] = {}
        self._skipped: deque[Skipped] = deque()

    def _runs(self) -> tuple[str, ...]:
        """The target's ids of the single runs that were restored; empty: they are not single ones."""
        picked = self._selected.picked
        ids = map(self._context.target_run_id, picked.keys[RUNS.name]) if picked is not None else ()
        return tuple(filter(None, ids))

    def pairs(self) -> Iterator[Pair | Skipped]:
        """All of them: each experiment with its runs and traces, then logged models, then registered models."""
        selected = self._selected
        ours: Iterator[Item] = heapq.merge(selected.experiments(), selected.led(RUNS), selected.led(TRACES), key=_order)
        for own, found in merge_join(ours, self._in_order(), _order):
            yield self._pair(own, found)
            yield from self._taken()
        for model in selected.logged_models():
            yield self._pair(model, self._logged.get(model.model_id))
        yield from dataset_restore.read_back(self._context)
        if selected.selection.means(MODELS):
            for mine, theirs in merge_join(selected.models(), self._registered_models(), MODELS.order):
                yield self._pair(mine, theirs)
        yield from self._taken()

    def _pair(self, own: Item | None, found: Item | None) -> Pair:
        """A pair, with what is expected of the target where there is something on both sides."""
        if own is None or found is None:
            return Pair(own, found)
        return Pair(own, found, _EXPECTED[kind_of(bare(own)).name](own, found, self._context))

    def _taken(self) -> Iterator[Skipped]:
        while self._skipped:
            yield self._skipped.popleft()

    def _in_order(self) -> Iterator[Item]:
        """The target's; its logged models wait in `_logged`, by their id in the snapshot."""
        for experiment in self._context.experiments.values():
            if not experiment.target_id:
                continue
            selection = replace(self._in_experiments, experiments=(experiment.name or experiment.source.name,))
            items = (self._in_own_ids(item, experiment) for item in self._source.read(selection, Silent()))
            for _, ties in itertools.groupby(with_followers(items), _start):
                yield from sorted(self._taken_apart(ties), key=_order)

    def _taken_apart(self, items: Iterable[Item | Skipped]) -> Iterator[Item]:
        for item in items:
            if isinstance(item, Skipped):
                if item.kind not in NOT_SHOWN and (item.kind, item.id) != (SPANS.many, "*"):  # it is not expected
                    self._skipped.append(item)
            elif kind_of(bare(item)).name == LOGGED_MODELS.name:
                self._logged[LOGGED_MODELS.key(item)] = item
            else:
                yield item

    def _registered_models(self) -> Iterator[Item]:
        selection = Selection(only=(MODEL_GROUP,), workspaces=self._workspaces)
        found = (self._in_own_workspace(item) for item in self._source.read(selection, Silent()))
        return self._taken_apart(with_followers(found))

    def _in_own_workspace(self, item: Any) -> SourceItem:
        if isinstance(item, Skipped) or kind_of(item).workspace is None:
            return item  # type: ignore[no-any-return]
        moved: Record = item.model_copy(update={"workspace": self._context.workspace})
        return moved

    def _in_own_ids(self, item: Any, experiment: TargetExperiment) -> SourceItem:
        if isinstance(item, Skipped | SpanLine):
            return item
        if isinstance(item, (MetricHistory, HistoryLine)):
            return item.record().model_copy(update={"run_id": self._ids.run(item.run_id)})
        if in_own_ids := _IN_OWN_IDS.get(kind_of(item).name):
            return in_own_ids(item, experiment, self._ids)
        moved: Record = item.model_copy(update={"experiment_id": experiment.source.experiment_id})
        return self._in_own_workspace(moved)


def _order(item: Item) -> tuple[Any, ...]:
    """Each experiment, then its runs, then its traces."""
    record: Any = bare(item)
    return experiment_order(record.experiment_id), place(item)


def _start(item: Item | Skipped) -> tuple[str, Any]:
    """Runs that began at the same time are in the order of the target's ids; traces keep theirs."""
    if isinstance(item, Skipped):
        return "", None
    record: Any = bare(item)
    kind = kind_of(record)
    return kind.name, record.start_time if kind.name == RUNS.name else kind.key(record)
