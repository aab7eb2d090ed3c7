"""What a restore does with the records of a kind: the same for its plan, so that the two can't differ.

A record that is missing is written; one that is there and the same is present; one that is there with other content
was changed since, or is in the way. Kinds of which MLflow wants more have a step of their own.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence, Set
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, TypeVar

from mlmeta.schema import EXPERIMENTS, Kind, Record
from mlmeta.schema.words import amount
from mlmeta.snapshot.reader import bare
from mlmeta.snapshot.selected import Selected
from mlmeta.stores.sql.changes import TargetChange, changes, is_deleted, is_same, others
from mlmeta.stores.sql.existing import ExistingRows
from mlmeta.stores.sql.joining import Joined, join
from mlmeta.stores.sql.limits import Limits
from mlmeta.stores.sql.mapping import KindTable
from mlmeta.stores.sql.stored import StoredForm
from mlmeta.stores.sql.tally import RestoreTally
from mlmeta.stores.sql.writer import RowWriter, Writer
from mlmeta.stores.target import KEPT, MERGE, RENAME, Key, RestoreOptions

R = TypeVar("R", bound=Record)
T = TypeVar("T")


@dataclass(frozen=True)
class RestoreContext:
    """What the steps of a restore have in common.

    Args:
        existing: what the target has already.
        writer: takes what is to be written.
        form: gives stored forms.
        part: of the snapshot, that is restored.
        limits: of the target's columns.
        options: how conflicts, locations and deleted records are dealt with.
        suffix: put behind a name that is taken.
        tally: what becomes of each record.
        known: ids of the snapshot's experiments.
        open: those of them that the target has or gets: what belongs to them can be written.
        datasets: ids of the snapshot's evaluation datasets that the target has or gets, and whether they are new there.
    """

    existing: ExistingRows
    writer: Writer
    form: StoredForm
    limits: Limits
    options: RestoreOptions
    suffix: str
    tally: RestoreTally
    part: Selected
    known: set[str] = field(default_factory=set)
    open: set[str] = field(default_factory=set)
    datasets: dict[str, bool] = field(default_factory=dict)

    @property
    def renames(self) -> bool:
        """Whether a record whose name is taken gets another one."""
        return self.options.on_conflict == RENAME

    @property
    def merges(self) -> bool:
        """Whether a record that is there gets what it lacks."""
        return self.options.on_conflict == MERGE


class Step(Generic[R]):
    """Decides about the records of a kind, a batch at a time.

    `WITHIN` is the kind of what they belong to, and can't be written without; `BY_HAND` are the fields that a merge
    can't add to as their table says, see `_merge_more`; `MORE_KEYS` are maps that the table does not tell, each with a
    table and the column for keys.

    Args:
        table: of the kind.
        context: of the restore.
    """

    WITHIN: ClassVar[Kind[Any]] = EXPERIMENTS
    BY_HAND: ClassVar[frozenset[str]] = frozenset()
    MORE_KEYS: ClassVar[tuple[tuple[str, str, str], ...]] = ()

    def __init__(self, table: KindTable[R], context: RestoreContext) -> None:
        self._table = table
        self._kind = table.kind
        self._context = context
        self._existing = context.existing
        self._tally = context.tally
        self._do = context.writer.do
        self._shut_out: defaultdict[str, list[Key]] = defaultdict(list)

    def take(self, records: Sequence[R]) -> None:
        """Decide about a batch of records."""
        records = self._unsettled(records, bare)
        found = self._existing.records(self._table, [self._table.row_key(record) for record in records])
        for record in records:
            stored = self._context.form.of(record)
            there = found.get(self._kind.key(record))
            if there is not None:
                self._take_existing(stored, there)
            elif self._has_place(stored):
                self._create(stored)

    def _unsettled(self, items: Sequence[T], record: Callable[[T], Any]) -> Sequence[T]:
        """What is not known to be in the target as a whole; the rest is noted as present."""
        if not self._existing.settled:
            return items
        left = []
        for item in items:
            if self._key(record(item)) in self._existing.settled:
                self._present(record(item))
            else:
                left.append(item)
        return left

    def _has_place(self, stored: R) -> bool:
        """Whether a record can be written; noted, if not."""
        if not self._existing.has(self._table):
            self._misfit(stored, f"the target's MLflow has no table {self._table.name}")
        elif self._kind.experiment is not None and self._kind.experiment(stored) not in self._context.open:
            self._shut_out[self._kind.experiment(stored)].append(self._key(stored))
        elif problem := self._table.state_problem(stored):
            self._misfit(stored, f"it {problem}")
        else:
            return True
        return False

    def _create(self, stored: R) -> None:
        self._tally.created[self._kind.counted_as] += 1
        self._do(RowWriter.record, stored)

    def _take_existing(self, stored: R, found: R) -> None:
        if is_same(stored, found):
            self._settle(stored)
        else:
            self._take_changed(stored, found, changes(stored, found))

    def _settle(self, stored: R) -> None:
        """Note a record that the target has as a whole."""
        self._tally.settled.add(self._key(stored))
        self._present(stored)

    def _take_changed(self, stored: R, found: R, differences: Sequence[TargetChange]) -> None:
        if self._context.merges:
            self._merge(stored, found, differences)
        elif reason := others(differences):
            self._conflict(stored, f"the target has it with other content: {reason}")
        else:
            self._present(stored, differences, deleted=is_deleted(stored, found))

    def _merge(self, stored: R, found: R, differences: Sequence[TargetChange]) -> None:
        """Add what a record that is there lacks, and name what stays as the target has it."""
        if reason := others([change for change in differences if change.name in self._table.identity]):
            self._conflict(stored, f"the target has another one under its id: {reason}")
            return
        equal = self._leave_equal_keys(stored, found)
        differences = [change for change in differences if change.field not in equal]
        joined = join(stored, found, differences, self.BY_HAND)
        written = {*joined.written, *self._merge_more(stored, equal)}
        if joined.written:
            self._do(RowWriter.merge, found, joined.record)
        self._note_merged(self._key(stored), written)
        self._note_joined(self._key(stored), joined)
        left = [change for change in differences if change.field not in written] if not written else []
        if not (equal or written) and all(change.is_more for change in differences):
            self._tally.settled.add(self._key(stored))
        self._present(stored, left, deleted=is_deleted(stored, found))

    def _leave_equal_keys(self, stored: R, found: R) -> set[str]:
        """Name the keys of maps that the target's collation takes for others that it has; the fields that they are."""
        left = set()
        for name, table, column in (*((p.field, p.name, p.key) for p in self._table.pairs), *self.MORE_KEYS):
            collation, there = self._context.limits.column(table, column).collation, getattr(found, name)
            new = [key for key in getattr(stored, name) if key not in there] if collation is not None else []
            equal = collation.equal([*there, *new]) if collation is not None and new else {}
            for key in equal.keys() & {*new}:
                reason = f"the target has no {name}[{key}]: its collation takes it for {equal[key]!r}, which is there"
                self._tally.leave_out(*self._key(stored), reason, f"{name}[{key}]", KEPT)
                left.add(f"{name}[{key}]")
        return left

    def _merge_more(self, stored: R, without: Set[str]) -> Iterable[str]:  # noqa: ARG002 - most kinds have no more
        """Add what `BY_HAND` names; gives the fields that get something.

        Args:
            stored: the stored form of the snapshot's record.
            without: fields that are left alone.
        """
        return ()

    def _note_merged(self, key: Key, written: Collection[str], *, more: bool = False) -> None:
        """Note which fields of a record that is there get something: it must be found there afterwards.

        Args:
            key: of the record.
            written: the fields.
            more: whether there is something else, of a record of its own.
        """
        self._tally.merged[self._kind.counted_as] += bool(written) or more
        self._tally.completed.update((*key, name) for name in written)

    def _note_joined(self, key: Key, joined: Joined[Any]) -> None:
        for change in joined.kept:
            self._tally.kept(key, change)
        for change in joined.replaced:
            self._tally.replaced.append(f"{key[0]} {key[1]}: {change.field} was {change.found}")

    def _present(self, stored: R, differences: Sequence[TargetChange] = (), *, deleted: bool = False) -> None:
        """Note a record that is there; make it active again where that is wanted."""
        if self._tally.was_there(self._kind.counted_as, self._key(stored), differences, deleted=deleted):
            self._do(RowWriter.undelete, self._table, self._table.row_key(stored))

    def _conflict(self, stored: R, reason: str) -> None:
        self._tally.conflict(self._kind.one, self._kind.key(stored), reason, self._key(stored))

    def _misfit(self, stored: R, reason: str, *records: Key) -> None:
        self._tally.misfit(*self._key(stored), reason, records=records)

    def _workspace_problem(self, record: R) -> str:
        """Why a record can't be in the target for the workspace that it is in; empty: it can."""
        workspace = self._kind.workspace(record) if self._kind.workspace is not None else None
        if workspace is None:
            return ""
        if not self._existing.has_workspaces():
            return f"it is in the workspace {workspace!r}, and the target's MLflow has none: they came with 3.10"
        self._tally.workspaces.add(workspace)
        return ""

    def _key(self, record: R) -> Key:
        """How a comparison names a record."""
        return self._kind.one, self._kind.found_as(record)

    def finish(self) -> None:
        """Name what could not be written, and whose records could not be written with it."""
        for owner, keys in self._shut_out.items():
            reason = f"{amount(len(keys), self._kind.many)} can't be restored without it"
            self._tally.conflict(self._kind.many, f"of {self.WITHIN.one} {owner}", reason, *keys)
