"""What a target is: something that takes a snapshot's records and keeps what it has."""

from __future__ import annotations

from collections.abc import Iterator, Set
from dataclasses import dataclass
from typing import Final, Literal, Protocol, get_args

from pydantic import BaseModel, ConfigDict, Field

from mlmeta.errors import UsageError
from mlmeta.progress import Progress
from mlmeta.schema import ASSESSMENTS, MODEL_VERSIONS, MODELS, RegisteredModel, Selection, Skipped
from mlmeta.snapshot.compare import Pair
from mlmeta.snapshot.picked import Chosen
from mlmeta.snapshot.reader import Snapshot
from mlmeta.stores.rewrite import Prefix

Key = tuple[str, str]
"""A record as a comparison names it: kind and id, such as ``("model version", "churn version 3")``."""

DELETED = "deleted_in_target"
"""Code of a refusal: the snapshot has something active, and the target has it deleted."""
KEPT = "kept"
"""Code of a refusal: something in the target that was to be added to, or was named, has other content and keeps it."""
NO_PLACE = "no_place"
"""Code of a refusal: the target's MLflow has no table or column for something."""
NO_RUN = "no_run"
"""Code of a refusal: something is of a run that is neither in the target nor restored with it."""

Ids = Literal["", "keep", "new"]
"""Whether ids stay, or a server gives new ones; empty: they stay where the target can keep them."""
OnConflict = Literal["fail", "skip", "rename", "merge"]
FAIL: Final = "fail"
SKIP: Final = "skip"
RENAME: Final = "rename"
MERGE: Final = "merge"
ON_CONFLICT: tuple[OnConflict, ...] = (FAIL, SKIP, RENAME, MERGE)
"""What to do about a conflict: write nothing at all, leave that record out, give it another name, or add to what is
there what that lacks (databases only), and leave out what can't be added."""


@dataclass(frozen=True)
class RestoreOptions:
    """How a restore is done.

    Args:
        ids: ``keep`` (databases only), ``new``, or empty: kept where the target can.
        on_conflict: one of `ON_CONFLICT`, for a target that keeps ids and holds other content under an id or name.
        rewrite: prefixes of artifact locations, and what to put in their place.
        undelete: make active again what the snapshot has active and the target has deleted.
        inert: leave out what acts by itself once a server runs on it: webhooks, online scoring, budgets.

    Raises:
        UsageError: one of the words is another.
    """

    ids: Ids = ""
    on_conflict: OnConflict = FAIL
    rewrite: tuple[tuple[Prefix, str], ...] = ()
    undelete: bool = False
    inert: bool = False

    def __post_init__(self) -> None:
        for what, word, words in (
            ("way to treat ids", self.ids, get_args(Ids)),
            ("way to handle conflicts", self.on_conflict, ON_CONFLICT),
        ):
            if word not in words:
                raise UsageError(f"{word!r} is not a valid {what}", hint=f"use {', '.join(filter(None, words))}")


class Refusal(BaseModel):
    """Something that the target did not take.

    Args:
        kind: of record, such as ``run`` or ``model version``.
        id: its id or name in the snapshot.
        reason: why, and the way out.
        field: the only field of the record that is concerned, as a comparison names it; empty: the record as a whole.
        code: a stable word for machines.
        hint: what to do about it.
        records: those that are concerned, where `kind` and `id` don't name it: the model of an alias, a model with all
            its versions. Not part of the JSON output.
    """

    model_config = ConfigDict(frozen=True)

    kind: str
    id: str
    reason: str
    field: str = ""
    code: str = "not_restored"
    hint: str = ""
    records: tuple[Key, ...] = Field(default=(), exclude=True)

    @property
    def concerned(self) -> tuple[Key, ...]:
        """The records of which it tells, as a comparison names them."""
        return self.records or ((self.kind, self.id),)


def deleted_in_target(kind: str, record_id: str) -> Refusal:
    """What a restore without ``--undelete`` says of a record that the snapshot has active and the target has deleted.

    Args:
        kind: of record, as for `Refusal`.
        record_id: its id or name in the snapshot.
    """
    return Refusal(
        kind=kind,
        id=record_id,
        reason="it is active in the snapshot and deleted in the target",
        field="lifecycle_stage",
        code=DELETED,
        hint="--undelete makes what is deleted in the target active again",
    )


def moved_alias(model: RegisteredModel, alias: str, number: int | str) -> Refusal:
    """What a restore says of an alias that was asked for by name, and that the target has at another version.

    Args:
        model: of the snapshot.
        alias: of it.
        number: of the version that it names in the target.
    """
    own = model.aliases[alias]
    return Refusal(
        kind="alias",
        id=f"{MODELS.key(model)}@{alias}",
        reason=f"it names version {number} in the target, which stays so, and version {own} in the snapshot",
        field=f"aliases[{alias}]",
        code=KEPT,
        hint="a restore moves no alias: set it in MLflow's UI, or with `MlflowClient.set_registered_model_alias`",
        records=(model_key(model),),
    )


def model_key(model: RegisteredModel) -> Key:
    """A registered model as a comparison names it."""
    return MODELS.one, MODELS.key(model)


def version_key(model: RegisteredModel, number: int) -> Key:
    """A version of a model, likewise."""
    return MODEL_VERSIONS.one, f"{MODELS.key(model)} version {number}"


def model_keys(model: RegisteredModel) -> tuple[Key, ...]:
    """A registered model and all its versions."""
    return model_key(model), *(version_key(model, version.version) for version in model.versions)


def assessment_key(trace_id: str, assessment_id: str) -> Key:
    """An assessment of a trace, likewise."""
    return ASSESSMENTS.one, f"{trace_id} {assessment_id}"


class Plan(BaseModel):
    """What a restore would do. Nothing has been written yet.

    Args:
        target: where to, without credentials.
        keeps_ids: whether ids and all times arrive as they were.
        create: how many of each kind would be written (``experiments``, ``runs``, ``models``, ``model versions``).
        present: how many of each kind are there already, from an earlier restore or otherwise the same.
        undelete: how many of each kind that are deleted in the target would be made active again.
        changed: how many of each kind that are there people changed since the snapshot; they stay as they are.
        merged: how many of each kind that are there a merge would add to.
        experiment_ids: ids of the snapshot's experiments that have another one in the target, or would get one.
        target_runs: whether the target has runs that are not this snapshot's.
        conflicts: what the target holds under the same name or id, with other content: a restore writes nothing.
        refused: what the target would not take; all else would be restored.
        notes: what a person should know beforehand.
        chosen: the single records that were named, and what they need, without traces; empty: none was named.
        existing: see `Report`; where single records were named, and not part of the JSON output.
        completed: likewise.
    """

    model_config = ConfigDict(frozen=True)

    target: str
    keeps_ids: bool
    create: dict[str, int] = {}
    present: dict[str, int] = {}
    undelete: dict[str, int] = {}
    changed: dict[str, int] = {}
    merged: dict[str, int] = {}
    experiment_ids: dict[str, str] = {}
    target_runs: bool = False
    conflicts: tuple[Refusal, ...] = ()
    refused: tuple[Refusal, ...] = ()
    notes: tuple[str, ...] = ()
    chosen: tuple[Chosen, ...] = ()
    existing: Set[Key] = Field(default=frozenset(), exclude=True)
    completed: Set[tuple[str, str, str]] = Field(default=frozenset(), exclude=True)

    def state_of(self, key: Key) -> str:
        """What would become of a record, in words: see `Chosen.state`."""
        if (*key, "lifecycle_stage") in self.completed:
            return "undelete"
        refused = [one for one in (*self.conflicts, *self.refused) if key in one.concerned]
        told = {one.code for one in refused if not one.field or one.code == DELETED}
        if DELETED in told:
            return "deleted"
        if key in self.existing:
            return "there"
        return "left out" if told else "new"


class Report(BaseModel):
    """What a restore did.

    Whatever of the snapshot is neither in `existing` nor refused was written by this restore, which must find it again.

    Args:
        created: how many of each kind were written.
        present: how many were there already.
        undeleted: how many that were deleted in the target are active again.
        merged: how many that were there a merge has added to.
        experiment_ids: ids of the snapshot's experiments that have another one in the target.
        refused: what the target did not take.
        notes: what a person should know.
        existing: records that were in the target before this restore: where they differ, people changed them since.
        completed: fields of these that this restore wrote all the same, such as ``aliases[champion]``.
    """

    model_config = ConfigDict(frozen=True)

    created: dict[str, int] = {}
    present: dict[str, int] = {}
    undeleted: dict[str, int] = {}
    merged: dict[str, int] = {}
    experiment_ids: dict[str, str] = {}
    refused: tuple[Refusal, ...] = ()
    notes: tuple[str, ...] = ()
    existing: Set[Key] = frozenset()
    completed: Set[tuple[str, str, str]] = frozenset()


class Target(Protocol):
    """An MLflow store to write into."""

    def has_content(self) -> bool:
        """Whether the target has any run, or, if it is a database, any trace, model or dataset."""

    def plan(self, snapshot: Snapshot, selection: Selection, progress: Progress) -> Plan:
        """Look at the target and say what a restore would do."""

    def restore(self, snapshot: Snapshot, selection: Selection, progress: Progress) -> Report:
        """Write what is missing; never overwrite, never delete what was there.

        Raises:
            ConflictError: the target holds other data under the same id (targets that keep ids).
            RestoreError: the target can't take it at all.
        """

    def read_back(self, snapshot: Snapshot, selection: Selection) -> Iterator[Pair | Skipped]:
        """Each record that was to be restored beside what the target has of it now, in the snapshot's ids.

        The target says itself in which form it keeps a record (`Pair.expected`). Of what is only in the target, any
        may come as well. `unkept` names fields that this route can't keep.
        """

    @property
    def unkept(self) -> tuple[str, ...]:
        """Fields that this route can't keep, such as ``experiments.creation_time`` or ``runs.tags[mlmeta.*]``."""

    def close(self) -> None:
        """Give back connections and threads."""
