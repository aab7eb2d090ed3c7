"""Single runs and models of a snapshot, by name, with what they need."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from mlmeta.schema import (
    EXPERIMENTS,
    LOGGED_MODELS,
    MODEL_VERSIONS,
    MODELS,
    ROWS,
    RUNS,
    TRACES,
    Kind,
    Record,
    RegisteredModel,
    Selection,
)
from mlmeta.schema.kind import R
from mlmeta.schema.rows import trace_of_run
from mlmeta.snapshot.by_id import ById
from mlmeta.snapshot.named import ModelParts, models_named
from mlmeta.snapshot.reader import Snapshot

ASKED = "asked for"
_PARENT, _NESTED, _SOURCE, _OWN, _WHERE = "parent", "nested", "source", "of a run", "needed"
_FOLLOWED: tuple[Kind[Any], ...] = (RUNS, LOGGED_MODELS)
"""The kinds whose records need others, or are needed."""


class Chosen(BaseModel):
    """A record that is meant because somebody named it, or because such a one needs it.

    Args:
        kind: of record, such as ``run`` or ``model version``.
        id: its key; of a version such as ``churn/3``.
        name: what people call it.
        reason: why it is meant: ``asked for``, or what it is to what was: ``parent``, ``nested``, ``source`` (the run
            that made it), ``of a run`` or ``needed``.
        lifecycle_stage: in the snapshot; empty: it has none.
        state: what a plan says of it: ``new``, ``there``, ``deleted`` (there, and so it stays), ``undelete`` or ``left
            out``; empty: nobody has looked.
        key: as a comparison names it: its kind, and what a restore finds it by. Not part of the JSON output.
    """

    model_config = ConfigDict(frozen=True)

    kind: str
    id: str
    name: str = ""
    reason: str = ASKED
    lifecycle_stage: str = ""
    state: str = ""
    key: tuple[str, str] = Field(exclude=True)

    @property
    def is_asked(self) -> bool:
        """Whether it was named."""
        return self.reason == ASKED


@dataclass(frozen=True, eq=False)
class Picked:
    """What a selection of single runs and models means.

    Args:
        keys: of records, by the name of their kind.
        models: the registered models that are named: what of them is meant.
        chosen: the records, those that were asked for first; without traces, which may be many.
    """

    keys: Mapping[str, Collection[str]]
    models: ModelParts
    chosen: tuple[Chosen, ...]

    def has(self, kind: Kind[R], record: R) -> bool:
        """Whether a record is meant."""
        keys = self.keys.get(kind.name)
        return bool(keys) and kind.key(record) in (keys or ())

    def part_of(self, record: R) -> R:
        """What is meant of a record, also of another store's: of a registered model, some versions and aliases."""
        found: Any = self.models.part_of(record) if isinstance(record, RegisteredModel) else record
        return found  # type: ignore[no-any-return]


def pick(snapshot: Snapshot, selection: Selection) -> Picked:
    """What a selection of single runs and models means; looked up once.

    A run needs its experiment, its parents, and the logged models that it made or used; these need the run that made
    them; a model's version needs its run and its logged model. What was made in a run that is named comes with it.

    Args:
        snapshot: that has them.
        selection: names them.

    Raises:
        UnknownRecordError: it has no such run, model, version or alias.
        UsageError: the beginning of an id, or a name, means several.
    """
    if selection not in snapshot.picked:
        snapshot.picked[selection] = _Picker(snapshot, selection).picked()
    found: Picked = snapshot.picked[selection]
    return found


class _Picker:
    def __init__(self, snapshot: Snapshot, selection: Selection) -> None:
        self._snapshot = snapshot
        self._selection = selection
        inside = (one for one in snapshot.records(EXPERIMENTS) if selection.has_workspace(one.workspace))
        self._experiments = {one.experiment_id: one for one in inside}
        self._needs: dict[tuple[str, str], list[tuple[str, str]]] = {}
        self._made: dict[str, list[tuple[str, str]]] = defaultdict(list)
        self._nested: dict[str, list[str]] = defaultdict(list)
        self._reasons: dict[str, dict[str, str]] = {kind.name: {} for kind in (*_FOLLOWED, TRACES)}
        self._waiting: deque[tuple[str, str]] = deque()

    def picked(self) -> Picked:
        """What is meant, when all is read."""
        models = models_named(self._snapshot, self._selection)
        runs = ById(self._snapshot.timestamp, RUNS, self._selection.runs)
        for kind in _FOLLOWED:
            self._read(kind, runs.look_at if kind is RUNS else _nothing)
        for run in runs.found():
            self._want(RUNS.name, run.run_id, ASKED)
        asked = self._with_nested(list(self._reasons[RUNS.name]))
        for version in models.versions():
            for kind_name, key in _needs(MODEL_VERSIONS, version):
                self._want(kind_name, key, _SOURCE if kind_name == RUNS.name else _OWN)
        self._follow()
        self._want_traces(asked)
        return self._all(models)

    def _read(self, kind: Kind[Any], look_at: Callable[[Any], None]) -> None:
        """Note what records need, and what was made in which run."""
        for record in self._snapshot.records(kind):
            if record.experiment_id not in self._experiments:
                continue
            look_at(record)
            key = kind.key(record)
            if needs := list(_needs(kind, record)):
                self._needs[kind.name, key] = needs
            if kind.made_in is not None and (run_id := kind.made_in(record)):
                self._made[run_id].append((kind.name, key))
            if kind is RUNS and self._selection.children:
                for name, parent in needs:
                    self._nested[parent].extend([key] * (name == RUNS.name))

    def _want(self, kind: str, key: str, reason: str) -> None:
        if key not in self._reasons[kind]:
            self._reasons[kind][key] = reason
            self._waiting.append((kind, key))

    def _with_nested(self, asked: list[str]) -> set[str]:
        """The runs that are named, and those within them."""
        found, waiting = set(asked), deque(asked)
        while waiting:
            for nested in self._nested.get(waiting.popleft(), ()):
                if nested not in found:
                    found.add(nested)
                    waiting.append(nested)
                    self._want(RUNS.name, nested, _NESTED)
        return found

    def _follow(self) -> None:
        """Whatever those need that are wanted, and what was made in these runs."""
        while self._waiting:
            kind, key = self._waiting.popleft()
            for needed, other in self._needs.get((kind, key), ()):
                of_run = _PARENT if kind == RUNS.name else _SOURCE
                self._want(needed, other, of_run if needed == RUNS.name else _OWN)
            if kind == RUNS.name:
                for made, other in self._made.get(key, ()):
                    self._want(made, other, _OWN)

    def _want_traces(self, runs: set[str]) -> None:
        """The traces that were made in runs, or are linked to them."""
        if not runs or not self._snapshot.may_have(TRACES) or not self._selection.means(TRACES):
            return
        linked = {trace for row in self._snapshot.records(ROWS) for run, trace in trace_of_run(row) if run in runs}
        for trace in self._snapshot.records(TRACES):
            if trace.trace_id in linked or (TRACES.made_in is not None and TRACES.made_in(trace) in runs):
                self._reasons[TRACES.name][trace.trace_id] = _OWN

    def _all(self, models: ModelParts) -> Picked:
        keys: dict[str, set[str]] = {EXPERIMENTS.name: set(), MODELS.name: models.keys}
        chosen = [_chosen_of(*named) for named in models.named()]
        for kind in (*_FOLLOWED, TRACES):
            records = list(self._wanted(kind))
            keys[kind.name] = {kind.key(one) for one in records}
            keys[EXPERIMENTS.name].update(one.experiment_id for one in records)
            chosen += [self._chosen(kind, one) for one in records if kind is not TRACES]
        where = [self._experiments[key] for key in keys[EXPERIMENTS.name]]
        where.sort(key=EXPERIMENTS.order)
        if self._selection.means(EXPERIMENTS):
            chosen += [_chosen(EXPERIMENTS, one, _WHERE) for one in where]
        return Picked(keys, models, tuple(sorted(chosen, key=lambda one: not one.is_asked)))

    def _wanted(self, kind: Kind[R]) -> Iterator[R]:
        """The records of a kind that are wanted, where there are any in the workspaces that are meant."""
        wanted = self._reasons[kind.name]
        for record in self._snapshot.records(kind) if wanted and self._selection.means(kind) else ():
            where = kind.experiment(record) if kind.experiment is not None else ""
            if kind.key(record) in wanted and where in self._experiments:
                yield record

    def _chosen(self, kind: Kind[Any], record: Record) -> Chosen:
        return _chosen(kind, record, self._reasons[kind.name][kind.key(record)])


def _chosen(kind: Kind[Any], record: Record, reason: str) -> Chosen:
    key, stage = (kind.one, kind.found_as(record)), getattr(record, "lifecycle_stage", "")
    told = {"kind": kind.one, "id": kind.key(record), "name": kind.title(record)}
    return Chosen(**told, reason=reason, lifecycle_stage=stage, key=key)


def _chosen_of(key: str, aliases: Sequence[str] | None) -> Chosen:
    """A registered model, or a version of one with its aliases."""
    if aliases is None:
        return Chosen(kind=MODELS.one, id=key, key=(MODELS.one, key))
    model, _, number = key.rpartition("/")
    found_by = MODEL_VERSIONS.one, f"{model} version {number}"
    return Chosen(kind=MODEL_VERSIONS.one, id=key, name=", ".join(f"@{alias}" for alias in aliases), key=found_by)


def _needs(kind: Kind[Any], record: Record) -> Iterator[tuple[str, str]]:
    found: Iterable[tuple[str, str | None]] = kind.needs(record) if kind.needs is not None else ()
    return ((name, key) for name, key in found if key)


def _nothing(_: Any) -> None:
    pass
