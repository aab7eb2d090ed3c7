"""What a restore through the API knows and has done so far."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from mlmeta.restorer.rewrite import Rewriter
from mlmeta.restorer.target import Key, Refusal
from mlmeta.schema import Experiment


@dataclass
class Place:
    """Where an experiment of the snapshot goes.

    Args:
        experiment: in the snapshot.
        target_id: the target's experiment of that name; empty: still to be created.
        joined: it was there before, and is not of our making.
        deleted: it is deleted in the target.
        revive: it has to be made active, to be filled or because the snapshot has it active.
        delete_last: the snapshot has it deleted, and it is ours to delete.
    """

    experiment: Experiment
    target_id: str = ""
    joined: bool = False
    deleted: bool = False
    revive: bool = False
    delete_last: bool = False

    @property
    def was_deleted_last(self) -> bool:
        """Whether an earlier restore made and filled it, and deleted it at the end, as the snapshot has it."""
        ours = not self.joined and self.experiment.lifecycle_stage == "deleted"
        return ours and self.deleted and not self.revive


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
        artifact_uris: of those runs of the snapshot that model versions refer to.
        logged_models: the target's logged models that an earlier restore made, by their id in the snapshot; and whether
            they are complete.
        native_models: ids of all logged models in the target's experiments.
        coming_models: ids of the snapshot's logged models that will be in the target.
        model_locations: where the files are of those logged models that model versions refer to, by id.
        rewriter: for artifact locations.
        active_in_deleted: target ids of runs that are active in an experiment that will be deleted.
        before: what was in the target before this restore, as a comparison names it.
    """

    places: dict[str, Place] = field(default_factory=dict)
    runs: dict[str, KnownRun] = field(default_factory=dict)
    native: set[str] = field(default_factory=set)
    artifact_uris: dict[str, str] = field(default_factory=dict)
    logged_models: dict[str, tuple[str, bool]] = field(default_factory=dict)
    native_models: set[str] = field(default_factory=set)
    coming_models: set[str] = field(default_factory=set)
    model_locations: dict[str, str] = field(default_factory=dict)
    rewriter: Rewriter = field(default_factory=lambda: Rewriter(()))
    active_in_deleted: list[str] = field(default_factory=list)
    created: Counter[str] = field(default_factory=Counter)
    present: Counter[str] = field(default_factory=Counter)
    before: set[Key] = field(default_factory=set)
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
        self.before.add((kind, identifier))

    def refuse(self, kind: str, identifier: str, reason: str, field: str = "") -> None:
        """Note something that the target did not take."""
        self.refused.append(Refusal(kind=kind, id=identifier, reason=reason, field=field))

    def known(self, run_id: str) -> KnownRun | None:
        """The target's run for a run of the snapshot; None where it has none."""
        if run_id in self.runs:
            return self.runs[run_id]
        return KnownRun(run_id, snapshot=NATIVE) if run_id in self.native else None

    def target_run(self, run_id: str) -> str | None:
        """The target's id of a run of the snapshot; None where it was not restored."""
        known = self.known(run_id)
        return known.run_id if known else None

    def is_complete(self, run_id: str) -> bool:
        """Whether a run of the snapshot is in the target, and not half-filled."""
        known = self.known(run_id)
        return known is not None and bool(known.snapshot)

    def source_runs(self) -> dict[str, str]:
        """The snapshot's run ids by the target's."""
        return {known.run_id: source for source, known in self.runs.items()}
