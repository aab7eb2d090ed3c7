"""The part of a snapshot that a selection means."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import fields
from functools import cached_property
from typing import Any

from mlmeta.errors import UnknownRecordError, UsageError
from mlmeta.schema import (
    DEFAULT_WORKSPACE,
    EXPERIMENTS,
    FOLLOWERS,
    MODELS,
    ROWS,
    RUNS,
    TRACES,
    Experiment,
    Record,
    RegisteredModel,
    Row,
    Selection,
    leading_kinds,
)
from mlmeta.schema.kind import Kind, R, within
from mlmeta.schema.rows import RowsOfExperiments, RowsOfTraces
from mlmeta.schema.words import closest
from mlmeta.snapshot.by_kind import ByKind
from mlmeta.snapshot.picked import Picked, pick
from mlmeta.snapshot.reader import AnyLed, Led, RunHistories, Snapshot
from mlmeta.visible import visible


class Selected(ByKind):
    """A snapshot, limited to a selection.

    Args:
        snapshot: the whole.
        selection: the part.
        picked: the single records that are meant, where that is known already; the selection limits them further.

    Raises:
        UnknownRecordError: the snapshot has no experiment, run or model that is named.
        UsageError: it has nothing in a workspace, or what is named are several.
    """

    def __init__(self, snapshot: Snapshot, selection: Selection, picked: Picked | None = None) -> None:
        self.snapshot = snapshot
        self.timestamp = snapshot.timestamp
        self.selection = selection
        if picked is None and selection.names_records:
            picked = pick(snapshot, selection)
        self.picked = picked
        self._chosen = self._choose() if selection.is_limited else None
        self._experiments = {e.experiment_id for e in self._chosen} if self._chosen is not None else None
        self._seen: set[str] | None = None
        self._owners: dict[str, set[str]] = {}
        self.other_rows: Counter[str] = Counter()
        """How many rows of each table, of those that were read, belong to none of the selected experiments."""

    def __repr__(self) -> str:
        meant = ((field.name, getattr(self.selection, field.name)) for field in fields(self.selection))
        words = "; ".join(f"{name} {', '.join(texts)}" for name, texts in meant if texts and isinstance(texts, tuple))
        return f"<Selected {visible(words or 'all')} of {self.snapshot!r}>"

    @property
    def tables(self) -> dict[str, int]:
        """How many rows there are of each table that no other kind models, selected experiments or not."""
        return self.snapshot.summary.tables if self.selection.means(ROWS) else {}

    def _choose(self) -> list[Experiment]:
        snapshot, selection = self.snapshot, self.selection
        found = [one for one in snapshot.records(EXPERIMENTS) if selection.has_workspace(one.workspace)]
        names = {one.name for one in found}
        for wanted in selection.experiments:
            if wanted not in names:
                raise UnknownRecordError(
                    f"snapshot {snapshot.timestamp} has no experiment {wanted!r}{self._in_workspaces()}",
                    hint=f"it has: {closest(wanted, names)}",
                    wanted=wanted,
                )
        self._check_workspaces({one.workspace or DEFAULT_WORKSPACE for one in found})
        if self.picked is not None:
            return [one for one in found if self.picked.has(EXPERIMENTS, one)]
        return [one for one in found if selection.has_experiment(one.name)]

    def _in_workspaces(self) -> str:
        names = self.selection.workspaces
        return f" in {'workspace' if len(names) == 1 else 'workspaces'} {', '.join(names)}" if names else ""

    def _check_workspaces(self, found: set[str]) -> None:
        """See that all that are selected are there: those without an experiment may have a registered model."""
        if missing := set(self.selection.workspaces) - found - {DEFAULT_WORKSPACE}:
            missing -= {model.workspace or DEFAULT_WORKSPACE for model in self.snapshot.records(MODELS)}
        if missing:
            raise UsageError(
                f"snapshot {self.snapshot.timestamp} has nothing in workspace {', '.join(map(repr, sorted(missing)))}",
                hint=f"`mlmeta show {self.snapshot.timestamp}` names the workspaces of its experiments",
            )

    @property
    def _runs(self) -> set[str]:
        """The ids of the runs of the selected experiments: noted while these were read, where they were."""
        if self._seen is None:
            self._seen = {run.run_id for run in self.snapshot.records(RUNS) if self._means(RUNS, run)}
        return self._seen

    def _means(self, kind: Kind[R], record: R) -> bool:
        """Whether a record belongs to a selected experiment or workspace, or refers to one of its runs."""
        if self._experiments is None:
            return True
        if self.picked is not None and not self.picked.has(kind, record):
            return False
        if kind.experiment is not None:
            return kind.experiment(record) in self._experiments
        if kind.workspace is not None and not self.selection.has_workspace(kind.workspace(record)):
            return False
        if kind.owner is not None and kind.owned_by is not None:
            return kind.owned_by(record) in self._keys_of(kind.owner)
        return not self.selection.experiments or self._refers(kind, record, self._experiments)

    def _refers(self, kind: Kind[R], record: R, experiments: set[str]) -> bool:
        """Whether a record refers to one of some experiments, or to one of their runs."""
        if kind.experiments:
            return not experiments.isdisjoint(getattr(record, kind.experiments))
        return kind.runs is None or not self._runs.isdisjoint(kind.runs(record))

    def _keys_of(self, kind: Kind[Any]) -> set[str]:
        """The keys of the records of a kind that are meant."""
        if kind.name not in self._owners:
            self._owners[kind.name] = {kind.key(one) for one in self.snapshot.records(kind) if self._means(kind, one)}
        return self._owners[kind.name]

    def has(self, kind: Kind[R], record: R) -> bool:
        """Whether a record of the snapshot is meant."""
        return self.selection.means(kind) and self._means(kind, record)

    def whole(self, model: RegisteredModel) -> RegisteredModel:
        """A registered model that is meant, with all that the snapshot has of it."""
        return model if self.picked is None else self.picked.models.snapshot_of(model)

    def has_all_of(self, model: RegisteredModel) -> bool:
        """Whether a registered model is meant as a whole, and not just some of its versions."""
        return self.picked is None or self.picked.models.is_whole(model)

    def asked_aliases(self, model: RegisteredModel) -> frozenset[str]:
        """The aliases of a registered model that is meant which somebody named: these are to be as in the snapshot."""
        return self.picked.models.asked_aliases(model) if self.picked is not None else frozenset()

    def limited(self, kind: Kind[R], record: R) -> R:
        """A record, of the snapshot or of another store, without what of it is not meant."""
        if self.picked is not None:
            return self.picked.part_of(record)
        if self._experiments is None or not kind.experiments:
            return record
        return within(kind, record, self._experiments)

    def records(self, kind: Kind[R]) -> Iterator[R]:
        """The records of a kind that are meant, in the snapshot's order.

        Args:
            kind: one whose records do not follow others.
        """
        if self.selection.means(kind):
            if kind is ROWS and self._experiments is not None:
                yield from self._rows(kind)
                return
            known: Any = self._chosen if kind is EXPERIMENTS else None
            found = (record for record in self.snapshot.records(kind) if self._means(kind, record))
            yield from known or (self.limited(kind, record) for record in found)

    def _rows(self, kind: Kind[R]) -> Iterator[R]:
        workspaces = () if self.selection.experiments else self.selection.workspaces
        experiments = {one.experiment_id: one.workspace or DEFAULT_WORKSPACE for one in self._chosen or ()}
        if self.picked is not None:
            rows: RowsOfExperiments = RowsOfTraces(experiments, (), lambda: self._traces)
        else:
            rows = RowsOfExperiments(experiments, workspaces, lambda: self._traces)
        for row in self.snapshot.records(kind):
            if isinstance(row, Row) and rows.have(row):
                yield row
        if self.picked is None:
            self.other_rows = +rows.others

    @cached_property
    def _traces(self) -> set[str]:
        """The ids of the traces of the selected experiments."""
        return {trace.trace_id for trace in self.snapshot.records(TRACES) if self._means(TRACES, trace)}

    def items(self) -> Iterator[Record | AnyLed]:
        """All that is meant, in the snapshot's order; runs with their histories, and traces with their spans."""
        for kind in leading_kinds():
            yield from self.led(kind) if kind.name in FOLLOWERS else self.records(kind)

    def runs_with_histories(self) -> Iterator[RunHistories]:
        """The runs, with their histories, in the snapshot's order."""
        items = self.snapshot.runs_with_histories() if self.selection.means(RUNS) else iter(())
        return (item for item in items if self._means(RUNS, item.run))

    def lines(self, kind: Kind[Any]) -> Iterator[Any]:
        """See `Snapshot.lines`: all that the snapshot has."""
        return self.snapshot.lines(kind)

    def led(self, kind: Kind[Any], *, lines: bool = True) -> Iterator[AnyLed]:
        """The records of a kind that others follow, with these where they are wanted, not taken apart.

        Args:
            kind: such as runs, which histories follow.
            lines: whether what follows them is wanted.
        """
        if not lines or not self.selection.means(FOLLOWERS[kind.name]):
            found = (Led(record, ()) for record in self.records(kind))
        else:
            items = self.snapshot.led(kind) if self.selection.means(kind) else iter(())
            found = (item for item in items if self._means(kind, item.record))
        return self._noted(found) if kind is RUNS else found

    def _noted(self, items: Iterable[AnyLed]) -> Iterator[AnyLed]:
        """Runs of a limited selection are remembered: what refers to them is selected by that."""
        seen = set()
        for item in items:
            if self._experiments is not None:
                seen.add(item.record.run_id)
            yield item
        if self.selection.means(RUNS):
            self._seen = seen
