"""What a restore through the API knows of the target, and what it has done so far."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sized
from concurrent.futures import Executor
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from mlmeta.schema import EXPERIMENTS, Experiment
from mlmeta.schema.kind import Kind
from mlmeta.snapshot.selected import Selected
from mlmeta.stores.api import diagnosis
from mlmeta.stores.api.connection import Connection
from mlmeta.stores.api.otlp import Sender
from mlmeta.stores.rewrite import Rewriter
from mlmeta.stores.target import Key, Refusal


@dataclass
class TargetExperiment:
    """Where an experiment of the snapshot goes.

    Args:
        source: the experiment in the snapshot.
        target_id: the target's experiment; empty: still to be created.
        name: in the target: the very experiment may have been renamed.
        joined: it was there before, and is not of our making.
        own: it is the snapshot's experiment itself, or one that a restore made of it; not just one of that name.
        deleted: it is deleted in the target.
        revive: it has to be made active, to be filled or because the snapshot has it active.
        delete_last: the snapshot has it deleted, and it is ours to delete.
        refused: the target does not take it.
    """

    source: Experiment
    target_id: str = ""
    name: str = ""
    joined: bool = False
    own: bool = False
    deleted: bool = False
    revive: bool = False
    delete_last: bool = False
    refused: bool = False

    @property
    def title(self) -> str:
        """What a comparison calls it."""
        return EXPERIMENTS.found_as(self.source)

    @property
    def was_deleted_last(self) -> bool:
        """Whether an earlier restore made and filled it, and deleted it at the end, as the snapshot has it."""
        ours = not self.joined and self.source.lifecycle_stage == "deleted"
        return ours and self.deleted and not self.revive

    @property
    def is_lost(self) -> bool:
        """Whether the snapshot has it active, and it is deleted in the target."""
        return self.deleted and self.own and self.source.lifecycle_stage == "active"

    @property
    def is_open(self) -> bool:
        """Whether it can be filled, once it is prepared."""
        return not self.refused and (self.revive or not self.deleted)


@dataclass(frozen=True)
class Extent:
    """How far a run has come. MLflow takes no param and no point away: one that is less far is an older state.

    Args:
        params: how many it has.
        metrics: how many it has.
        latest: the time of its latest point.
    """

    params: int
    metrics: int
    latest: int

    @classmethod
    def of(cls, params: Sized, metrics: Collection[Any]) -> Extent:
        """That of a run.

        Args:
            params: its params.
            metrics: their latest points, each with a `timestamp`.
        """
        return cls(len(params), len(metrics), max((metric.timestamp or 0 for metric in metrics), default=0))

    def is_beyond(self, other: Extent) -> bool:
        """Whether it has something that the other one lacks."""
        return self.params > other.params or self.metrics > other.metrics or self.latest > other.latest


class SourceIds(NamedTuple):
    """The snapshot's ids by the target's, where these differ.

    Args:
        runs: of runs.
        logged_models: of logged models.
    """

    runs: dict[str, str]
    logged_models: dict[str, str]

    def run(self, run_id: str) -> str:
        """The snapshot's id of a run of the target."""
        return self.runs.get(run_id, run_id)


class Refusing:
    """What MLflow refuses within the block becomes a `Refusal`; see `RestoreContext.refusing`.

    Args:
        connection: to the target, which must still answer.
        refusal: with what goes before the target's reason.
        hint: what to do where the error itself does not suggest it; None: nothing is suggested.
        into: takes the refusal.
    """

    def __init__(self, connection: Connection, refusal: Refusal, hint: str | None, into: list[Refusal]) -> None:
        self._connection = connection
        self._refusal = refusal
        self._hint = hint
        self._into = into

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> bool:
        from mlflow.exceptions import MlflowException

        if not isinstance(error, MlflowException):
            return False
        self._connection.check()
        reason = self._refusal.reason + self._connection.reason(error)
        hint = "" if self._hint is None else diagnosis.advice(error, self._hint)
        self._into.append(self._refusal.model_copy(update={"reason": reason, "hint": hint}))
        return True


NATIVE = "native"
"""In place of a snapshot: the run was not restored, it is the original."""


@dataclass(frozen=True)
class TargetRun:
    """A run of the snapshot in the target, most often one that a restore made.

    Args:
        run_id: in the target.
        snapshot: the snapshot it was completed from; empty: it is half-filled.
        deleted: whether it is deleted in the target.
    """

    run_id: str
    snapshot: str = ""
    deleted: bool = False

    def is_lost(self, stage: str) -> bool:
        """Whether the snapshot has it active, and it is deleted in the target; `stage`: what the snapshot says."""
        return self.deleted and stage == "active"


@dataclass(frozen=True)
class TargetTrace:
    """A trace of the snapshot's that the target has.

    Args:
        experiment_id: in the target.
        snapshot: the snapshot that it was completed from, or is being filled from; empty: no restore made it.
        assessments: the ids of those that it has.
    """

    experiment_id: str = ""
    snapshot: str = ""
    assessments: frozenset[str] = frozenset()


@dataclass
class RestoreContext:
    """What is known of the target, and what was done. Each kind's module reads it, and adds to it.

    Args:
        connection: to the target.
        selected: what is to be restored: all of it is in one workspace of the snapshot.
        workspace: that one, as records have it; `connection` is about the one that it goes into.
        has_workspaces: whether the target has any.
        is_planned: whether that one has still to be made, so that there is nothing to be asked for.
        executor: for requests that write at once.
        jobs: most of these.
        undelete: whether what the snapshot has active and the target has deleted is made active again.
        rewriter: for artifact locations.
        writes: whether anything is written; if not, the context says afterwards what would be.
        is_strict: whether the target is an MLflow that takes some sources only from what made them.
        sender: makes messages of spans, for the target's version.
        shows_spans: whether the target shows the spans that it has.
        root: the artifact location of the target's Default experiment.
        experiments: where experiments go, by their id in the snapshot.
        known_experiments: those that something may refer to: the same, and all of them where only models are selected.
        runs: the target's runs that a restore made, by their id in the snapshot.
        native: ids of all runs in the target's experiments: a run that is there under its own id was never lost.
        native_deleted: those of them that are deleted.
        extents: how far the target's runs have come that are not of this snapshot's restore, by id.
        nested: how many of the target's runs say that they are nested in which.
        to_undelete: the target's ids of the runs that `undelete` concerns.
        coming_runs: ids of the snapshot's runs that a plan would have created.
        to_delete: the target's ids of the runs that the snapshot has deleted and that this restore filled, by the
            snapshot's ids.
        active_in_deleted: target ids of runs that are active in an experiment that will be deleted.
        knows_models: whether the target knows logged models.
        logged_models: the target's logged models that a restore made, by their id in the snapshot; and whether they are
            complete.
        native_models: the artifact locations of all logged models in the target's experiments, by id.
        model_metrics: how many metrics the target's logged models have from which of its runs, by model.
        used_models: the target's ids of the logged models that its runs used or made, by run, as a search shows them.
        deleted_models: ids of the snapshot's logged models that are deleted in the target.
        coming_models: ids of the snapshot's logged models that will be in the target.
        knows_traces: whether the target knows traces.
        traces: those of the snapshot that the target has, by id.
        linked: how many rows of links the target has by calls of its own.
        knows_datasets: whether the target has evaluation datasets.
        datasets: the target's ids of the snapshot's evaluation datasets that it has or got.
        locations: where the files are of what versions refer to, by URI: ``runs:/id``, ``models:/m-id`` or
            ``models:/name/number``.
        created: how many of each kind were written.
        present: how many were there already.
        undeleted: how many that were deleted are active again.
        existing: what was in the target before this restore, as a comparison names it.
        completed: fields of these that this restore wrote.
        refused: what the target did not take.
        notes: what a person should know.
    """

    connection: Connection
    selected: Selected
    executor: Executor
    jobs: int
    undelete: bool
    rewriter: Rewriter
    writes: bool
    workspace: str | None = None
    has_workspaces: bool = False
    is_planned: bool = False
    is_strict: bool = True
    sender: Sender = field(default_factory=lambda: Sender(None))
    shows_spans: bool = True
    root: str = ""
    experiments: dict[str, TargetExperiment] = field(default_factory=dict)
    known_experiments: dict[str, TargetExperiment] = field(default_factory=dict)
    runs: dict[str, TargetRun] = field(default_factory=dict)
    native: set[str] = field(default_factory=set)
    native_deleted: set[str] = field(default_factory=set)
    extents: dict[str, Extent] = field(default_factory=dict)
    nested: Counter[str] = field(default_factory=Counter)
    to_undelete: set[str] = field(default_factory=set)
    coming_runs: set[str] = field(default_factory=set)
    to_delete: dict[str, str] = field(default_factory=dict)
    active_in_deleted: list[str] = field(default_factory=list)
    knows_models: bool = True
    logged_models: dict[str, tuple[str, bool]] = field(default_factory=dict)
    native_models: dict[str, str] = field(default_factory=dict)
    model_metrics: dict[str, Counter[str]] = field(default_factory=dict)
    used_models: dict[str, frozenset[str]] = field(default_factory=dict)
    deleted_models: set[str] = field(default_factory=set)
    coming_models: set[str] = field(default_factory=set)
    knows_traces: bool = True
    traces: dict[str, TargetTrace] = field(default_factory=dict)
    linked: int = 0
    knows_datasets: bool = True
    datasets: dict[str, str] = field(default_factory=dict)
    locations: dict[str, str] = field(default_factory=dict)
    created: Counter[str] = field(default_factory=Counter)
    present: Counter[str] = field(default_factory=Counter)
    undeleted: Counter[str] = field(default_factory=Counter)
    existing: set[Key] = field(default_factory=set)
    completed: set[tuple[str, str, str]] = field(default_factory=set)
    refused: list[Refusal] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def timestamp(self) -> str:
        """The snapshot's."""
        return self.selected.snapshot.timestamp

    def rewritten(self, kind: Kind[Any], location: str | None) -> str | None:
        """An artifact location of a record as it goes into the target."""
        return self.rewriter.uris(kind.counted_as, location)[0]

    def was_there(self, kind: Kind[Any], identifier: str) -> None:
        """Count a record that was in the target before; `identifier`: as a comparison names it."""
        self.present[kind.counted_as] += 1
        self.existing.add((kind.one, identifier))

    def is_active_again(self, kind: Kind[Any], identifier: str) -> None:
        """Count a record that was deleted in the target; see `was_there`."""
        self.undeleted[kind.counted_as] += 1
        self.existing.add((kind.one, identifier))
        self.completed.add((kind.one, identifier, "lifecycle_stage"))

    def refuse(
        self, kind: str, identifier: str, reason: str, field: str = "", *, hint: str = "", records: tuple[Key, ...] = ()
    ) -> None:
        """Note something that the target did not take; see `Refusal`."""
        refusal = Refusal(kind=kind, id=identifier, reason=reason, field=field, hint=hint, records=records)
        self.refused.append(refusal)

    def refusing(
        self,
        kind: str,
        identifier: str,
        field: str = "",
        *,
        hint: str | None = None,
        prefix: str = "",
        records: tuple[Key, ...] = (),
    ) -> Refusing:
        """Note what the target refuses within the block, and go on after it, as long as the target still answers.

        Args:
            kind: see `Refusal`, as for `identifier`, `field` and `records`.
            identifier: of that record.
            field: of that record.
            hint: what to do where the error itself does not suggest it; None: nothing is suggested.
            prefix: goes before the reason that the target gives.
            records: that are concerned.
        """
        refusal = Refusal(kind=kind, id=identifier, reason=prefix, field=field, records=records)
        return Refusing(self.connection, refusal, hint, self.refused)

    def target_run(self, run_id: str) -> TargetRun | None:
        """The target's run for a run of the snapshot; None where it has none."""
        if run_id in self.native:
            return TargetRun(run_id, NATIVE, run_id in self.native_deleted)
        return self.runs.get(run_id)

    def target_run_id(self, run_id: str) -> str | None:
        """The target's id of a run of the snapshot; None where it was not restored."""
        found = self.target_run(run_id)
        return found.run_id if found else None

    def target_model_id(self, model_id: str) -> str | None:
        """The target's id of a logged model of the snapshot, deleted there or not; None where it is not there."""
        if model_id in self.native_models or model_id in self.deleted_models:
            return model_id
        return self.logged_models.get(model_id, (None, False))[0]

    def referred(self, experiment_id: str) -> TargetExperiment | None:
        """Where a reference to an experiment of the snapshot leads to, deleted or not; None: nowhere."""
        found = self.known_experiments.get(experiment_id)
        if found is None or found.refused or not (found.target_id or experiment_id in self.experiments):
            return None
        return found

    def source_ids(self) -> SourceIds:
        """The snapshot's ids by the target's, where these differ."""
        return SourceIds(
            runs={found.run_id: source for source, found in self.runs.items()},
            logged_models={target_id: source for source, (target_id, _) in self.logged_models.items()},
        )

    def is_own_host(self, uri: str) -> bool:
        """Whether a location is on the host where the target keeps its own artifacts."""
        return urlsplit(uri)[:2] == urlsplit(self.root)[:2]
