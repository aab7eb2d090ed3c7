"""What a restore through the API knows and has done so far."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sized
from dataclasses import dataclass, field
from enum import Enum
from typing import Any
from urllib.parse import urlsplit

from mlmeta.schema import Experiment, Run
from mlmeta.stores.rewrite import Rewriter
from mlmeta.stores.target import Key, Refusal, deleted_in_target


@dataclass
class Place:
    """Where an experiment of the snapshot goes.

    Args:
        experiment: in the snapshot.
        target_id: the target's experiment; empty: still to be created.
        name: in the target: the very experiment may have been renamed.
        joined: it was there before, and is not of our making.
        own: it is the snapshot's experiment itself, or one that a restore made of it; not just one of that name.
        deleted: it is deleted in the target.
        revive: it has to be made active, to be filled or because the snapshot has it active.
        delete_last: the snapshot has it deleted, and it is ours to delete.
        refused: the target does not take it.
    """

    experiment: Experiment
    target_id: str = ""
    name: str = ""
    joined: bool = False
    own: bool = False
    deleted: bool = False
    revive: bool = False
    delete_last: bool = False
    refused: bool = False

    @property
    def was_deleted_last(self) -> bool:
        """Whether an earlier restore made and filled it, and deleted it at the end, as the snapshot has it."""
        ours = not self.joined and self.experiment.lifecycle_stage == "deleted"
        return ours and self.deleted and not self.revive

    @property
    def is_lost(self) -> bool:
        """Whether it is active in the snapshot and deleted in the target."""
        return self.deleted and self.own and self.experiment.lifecycle_stage == "active"

    @property
    def is_open(self) -> bool:
        """Whether it can be filled, once it is prepared."""
        return not self.refused and (self.revive or not self.deleted)


class Fate(Enum):
    """What a restore does about a run."""

    CREATE = "create"
    FILL = "fill what an interrupted restore left"
    PRESENT = "it is there"
    UNDELETE = "make it active again"
    DELETED = "it is deleted in the target, and stays deleted"
    OUT_OF_REACH = "its experiment can't be filled"


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


NATIVE = "native"
"""In place of a snapshot: the run was not restored, it is the original."""


@dataclass(frozen=True)
class KnownRun:
    """A run in the target that an earlier restore made.

    Args:
        run_id: in the target.
        snapshot: the snapshot it was completed from; empty: it is half-filled.
        deleted: whether it is deleted in the target.
    """

    run_id: str
    snapshot: str = ""
    deleted: bool = False


@dataclass
class State:
    """What is known of the target, and what was done.

    Args:
        places: where experiments go, by their id in the snapshot.
        runs: the target's runs that an earlier restore made, by their id in the snapshot.
        native: ids of all runs in the target's experiments: a run that is there under its own id was never lost.
        native_deleted: those of them that are deleted.
        extents: how far the target's runs have come that are not of this snapshot's restore, by id.
        undelete: whether what the snapshot has active and the target has deleted is made active again.
        to_undelete: the target's ids of the runs that this concerns.
        is_strict: whether the target is an MLflow that takes some sources only from what made them.
        root: the artifact location of the target's Default experiment.
        artifact_uris: of those runs of the snapshot that model versions refer to.
        logged_models: the target's logged models that an earlier restore made, by their id in the snapshot; and whether
            they are complete.
        native_models: the artifact locations of all logged models in the target's experiments, by id.
        deleted_models: ids of the snapshot's logged models that are deleted in the target.
        knows_models: whether the target knows logged models.
        coming_runs: ids of the snapshot's runs that a plan would have created.
        coming_models: ids of the snapshot's logged models that will be in the target.
        model_locations: where the files are of those logged models that model versions refer to, by id.
        version_sources: the sources of those versions that others refer to, by name and number.
        rewriter: for artifact locations.
        active_in_deleted: target ids of runs that are active in an experiment that will be deleted.
        existing: what was in the target before this restore, as a comparison names it.
        completed: fields of these that this restore wrote.
    """

    places: dict[str, Place] = field(default_factory=dict)
    runs: dict[str, KnownRun] = field(default_factory=dict)
    native: set[str] = field(default_factory=set)
    native_deleted: set[str] = field(default_factory=set)
    extents: dict[str, Extent] = field(default_factory=dict)
    undelete: bool = False
    to_undelete: set[str] = field(default_factory=set)
    is_strict: bool = True
    root: str = ""
    artifact_uris: dict[str, str] = field(default_factory=dict)
    logged_models: dict[str, tuple[str, bool]] = field(default_factory=dict)
    native_models: dict[str, str] = field(default_factory=dict)
    deleted_models: set[str] = field(default_factory=set)
    knows_models: bool = True
    coming_runs: set[str] = field(default_factory=set)
    coming_models: set[str] = field(default_factory=set)
    model_locations: dict[str, str] = field(default_factory=dict)
    version_sources: dict[str, str] = field(default_factory=dict)
    rewriter: Rewriter = field(default_factory=lambda: Rewriter(()))
    active_in_deleted: list[str] = field(default_factory=list)
    created: Counter[str] = field(default_factory=Counter)
    present: Counter[str] = field(default_factory=Counter)
    existing: set[Key] = field(default_factory=set)
    completed: set[tuple[str, str, str]] = field(default_factory=set)
    undeleted: Counter[str] = field(default_factory=Counter)
    refused: list[Refusal] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def rewritten(self, kind: str, location: str | None) -> str | None:
        """An artifact location of a record as it goes into the target."""
        return self.rewriter.uris(kind, location)[0]

    def was_there(self, plural: str, kind: str, identifier: str) -> None:
        """Count a record that was in the target before.

        Args:
            plural: what it is counted under.
            kind: of record, as a comparison names it.
            identifier: of that record, likewise.
        """
        self.present[plural] += 1
        self.existing.add((kind, identifier))

    def is_active_again(self, plural: str, kind: str, identifier: str) -> None:
        """Count a record that was deleted in the target; see `was_there`."""
        self.undeleted[plural] += 1
        self.existing.add((kind, identifier))
        self.completed.add((kind, identifier, "lifecycle_stage"))

    def refuse(
        self, kind: str, identifier: str, reason: str, field: str = "", *, hint: str = "", records: tuple[Key, ...] = ()
    ) -> None:
        """Note something that the target did not take."""
        refusal = Refusal(kind=kind, id=identifier, reason=reason, field=field, hint=hint, records=records)
        self.refused.append(refusal)

    def refuse_run(self, run: Run, fate: Fate) -> None:
        """Note that a run is left as it is, where that is its fate."""
        if fate is Fate.DELETED:
            self.refused.append(deleted_in_target("run", run.run_id))
        elif fate is Fate.OUT_OF_REACH:
            self.refuse("run", run.run_id, "its experiment is not in the target, or deleted there")

    def refuse_older(self, run: Run) -> None:
        """Note that a run is left as it is, where the target has an older state of it than the snapshot."""
        known = self.known(run.run_id)
        there = self.extents.get(known.run_id) if known is not None and known.snapshot else None
        if there is not None and Extent.of(run.params, run.metrics.values()).is_beyond(there):
            reason = "the target has an older state of it than the snapshot, and keeps it"
            hint = "restore into an empty server, or remove the run there (`mlflow gc`) and restore again"
            self.refused.append(Refusal(kind="run", id=run.run_id, reason=reason, code="older_in_target", hint=hint))

    def known(self, run_id: str) -> KnownRun | None:
        """The target's run for a run of the snapshot; None where it has none."""
        if run_id in self.native:
            return KnownRun(run_id, NATIVE, run_id in self.native_deleted)
        return self.runs.get(run_id)

    def target_run(self, run_id: str) -> str | None:
        """The target's id of a run of the snapshot; None where it was not restored."""
        known = self.known(run_id)
        return known.run_id if known else None

    def is_complete(self, run_id: str) -> bool:
        """Whether a run of the snapshot is in the target, and not half-filled."""
        known = self.known(run_id)
        return known is not None and bool(known.snapshot)

    def is_lost(self, run: Run) -> bool:
        """Whether the snapshot has a run active, and it is deleted in the target."""
        known = self.known(run.run_id)
        return known is not None and known.deleted and run.lifecycle_stage == "active"

    def fate(self, run: Run) -> Fate:
        """What a restore does about a run of a selected experiment."""
        place, known = self.places[run.experiment_id], self.known(run.run_id)
        if known is None:
            return Fate.CREATE if place.is_open else Fate.OUT_OF_REACH
        if self.is_lost(run) and not place.was_deleted_last:
            return Fate.UNDELETE if self.undelete and not place.refused else Fate.DELETED
        if known.snapshot:
            return Fate.PRESENT
        return Fate.FILL if place.is_open else Fate.OUT_OF_REACH

    def source_runs(self) -> dict[str, str]:
        """The snapshot's run ids by the target's, where these differ."""
        return {known.run_id: source for source, known in self.runs.items()}

    def is_own_host(self, uri: str) -> bool:
        """Whether a location is on the host where the target keeps its own artifacts."""
        return urlsplit(uri)[:2] == urlsplit(self.root)[:2]
