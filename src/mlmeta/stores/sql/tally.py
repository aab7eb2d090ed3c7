"""What a restore does with each record, counted, and what it does not, by name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from mlmeta.errors import ConflictError, RestoreError
from mlmeta.snapshot.equality import NOTHING
from mlmeta.stores.sql.changes import INCIDENTAL, TargetChange
from mlmeta.stores.target import KEPT, Key, Refusal, deleted_in_target


@dataclass
class RestoreTally:
    """What a restore does or would do.

    Args:
        undelete: whether what is deleted in the target and active in the snapshot becomes active again.
        created: how many of each kind are written.
        present: how many of each kind are there already.
        conflicts: what the target holds under the same id or name, with other content.
        notes: what a person should know.
        left_out: what the database can't hold as something else is missing, or has deleted; unlike a conflict it does
            not stop a restore.
        misfits: what its columns can't hold.
        matched_runs: runs of the snapshot whose id the target has.
        undeleted: how many of each kind become active again.
        changed: how many of those that are there were changed since the snapshot.
        merged: how many of those that are there get something.
        replaced: what a merge has replaced in them, in words.
        experiment_ids: ids of the snapshot's experiments that have another one in the target, or get one.
        existing: what the target has already, as a comparison names it; see `Report`.
        completed: fields of these that are written all the same.
        workspaces: those of the snapshot's records, but for the default one.
        settled: of what is there, what has all that the snapshot has: it need not be looked at again.
        is_idle: whether a plan found that there is nothing to write at all.
    """

    undelete: bool = False
    created: Counter[str] = field(default_factory=Counter)
    present: Counter[str] = field(default_factory=Counter)
    conflicts: list[Refusal] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    left_out: list[Refusal] = field(default_factory=list)
    misfits: list[Refusal] = field(default_factory=list)
    matched_runs: int = 0
    undeleted: Counter[str] = field(default_factory=Counter)
    changed: Counter[str] = field(default_factory=Counter)
    merged: Counter[str] = field(default_factory=Counter)
    replaced: list[str] = field(default_factory=list)
    experiment_ids: dict[str, str] = field(default_factory=dict)
    existing: set[Key] = field(default_factory=set)
    completed: set[tuple[str, str, str]] = field(default_factory=set)
    workspaces: set[str] = field(default_factory=set)
    settled: set[Key] = field(default_factory=set)
    is_idle: bool = False

    def was_there(self, plural: str, key: Key, found: Sequence[TargetChange] = (), *, deleted: bool = False) -> bool:
        """Note a record that the target has already. Whether it is to be made active again.

        Args:
            plural: what it is counted under.
            key: of the record, as a comparison names it.
            found: what was changed since.
            deleted: whether the snapshot has it active and the target has it deleted.
        """
        self.existing.add(key)
        self.changed[plural] += any(change.field not in INCIDENTAL for change in found)
        if deleted and self.undelete:
            self.undeleted[plural] += 1
            self.completed.add((*key, "lifecycle_stage"))
            return True
        self.present[plural] += 1
        if deleted:
            self.left_out.append(deleted_in_target(*key))
        return False

    def conflict(self, kind: str, record_id: str, reason: str, *keys: Key) -> None:
        """Note a conflict.

        Args:
            kind: of record.
            record_id: of that record.
            reason: why it can't be written.
            keys: what is not written for it, as a comparison names it.
        """
        self.conflicts.append(Refusal(kind=kind, id=record_id, reason=reason, records=keys))

    def kept(self, key: Key, change: TargetChange) -> None:
        """Note a field that both have with other content, and that stays as the target has it."""
        reason = f"the target keeps its {change.field}, which is {change.found} instead of {change.expected}"
        if change.found == repr(NOTHING):
            reason = f"the target has no {change.field}, which is {change.expected} in the snapshot"
        self.left_out.append(Refusal(kind=key[0], id=key[1], reason=reason, field=change.field, code=KEPT))

    def leave_out(self, kind: str, record_id: str, reason: str, field: str, code: str = "not_restored") -> None:
        """Note something that can't be written."""
        self.left_out.append(Refusal(kind=kind, id=record_id, reason=reason, field=field, code=code))

    def leave_out_all(
        self, kind: str, record_id: str, reason: str, keys: Sequence[Key], code: str = "not_restored"
    ) -> None:
        """Note several records that can't be written, for one reason."""
        self.left_out.append(Refusal(kind=kind, id=record_id, reason=reason, code=code, records=tuple(keys)))

    def misfit(self, kind: str, record_id: str, reason: str, field: str = "", records: tuple[Key, ...] = ()) -> None:
        """Note something that the database can't hold."""
        refusal = Refusal(kind=kind, id=record_id, reason=reason, field=field, code="does_not_fit", records=records)
        self.misfits.append(refusal)

    @property
    def refused(self) -> tuple[Refusal, ...]:
        """All that is not written where a restore goes on without it."""
        return (*self.misfits, *self.conflicts, *self.left_out)

    def require_fit(self, shown: str) -> None:
        """Stop a restore that must be complete.

        Raises:
            RestoreError: the database can't hold everything; the first few are named.
        """
        if self.misfits:
            raise RestoreError(
                f"{shown} can't hold everything ({_named(self.misfits)}); nothing was written",
                hint="restore into a database that can hold it, or leave it out with `--on-conflict skip`",
            )

    def require_no_conflict(self, shown: str) -> None:
        """Stop a restore that must be complete.

        Raises:
            ConflictError: something stands in the way; the first few are named.
        """
        if not self.conflicts:
            return
        raise ConflictError(
            f"{shown} holds other data under the same id or name ({_named(self.conflicts)}); nothing was written",
            hint="`--dry-run` names them all; restore into an empty database, or see `--on-conflict`",
        )


def _named(refusals: Sequence[Refusal]) -> str:
    """The first few, in one line."""
    first = "; ".join(f"{r.kind} {r.id}: {r.reason}" for r in refusals[:3])
    return f"{first}; and {len(refusals) - 3} more" if len(refusals) > 3 else first
