"""Checks a snapshot against itself: files, records, and the references between them."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict

from mlmeta.errors import DamagedSnapshotError, InternalError, MlmetaError, ObjectMissingError
from mlmeta.redaction import cut
from mlmeta.schema import (
    EXPERIMENTS,
    FOLLOWERS,
    KINDS,
    LOGGED_MODELS,
    MODELS,
    RUNS,
    Experiment,
    FileEntry,
    Kind,
    LoggedModel,
    MetricHistory,
    Record,
    RegisteredModel,
    Run,
    SpanLine,
)
from mlmeta.schema.kind import R
from mlmeta.schema.words import amount
from mlmeta.snapshot.layout import FileSet
from mlmeta.snapshot.order import OrderGuard
from mlmeta.snapshot.reader import AnyLed, Following, Led, Snapshot
from mlmeta.snapshot.records import as_line
from mlmeta.storage import Digest

MOST = 1000
"""Bad records of one file that are named one by one."""
_TOLD = 1000
_OWNERS = {kind.owner for kind in KINDS.values() if kind.owner is not None}
T = TypeVar("T")


class Problem(BaseModel):
    """Something that is wrong with a snapshot.

    Args:
        file: the file's name, or empty where it is about the snapshot as a whole.
        message: what is wrong.
    """

    model_config = ConfigDict(frozen=True)

    file: str
    message: str


def verify_snapshot(snapshot: Snapshot) -> list[Problem]:
    """All that is wrong with a snapshot: size, SHA-256, record count of each file; each bad record; references.

    Args:
        snapshot: to be read in full.

    Raises:
        StorageError: the storage can't be read at all.
    """
    return CheckedSnapshot(snapshot).problems()


class CheckedSnapshot(Snapshot):
    """A snapshot that is verified in the walk that first reads it: that walk ends where something is wrong.

    What a reader makes of it holds only if `problems` gives none afterwards.

    Args:
        snapshot: to be read.
        advance: told the number of records verified since it was last told.
    """

    def __init__(self, snapshot: Snapshot, advance: Callable[[int], None] | None = None) -> None:
        super().__init__(snapshot.storage, snapshot.summary, snapshot.notes)
        self._advance = advance
        self._untold = 0
        self._damage: dict[str, list[Problem]] = {}
        self._references = _References(self)
        self._is_sound = True
        self._walks: dict[str, Iterator[Any]] = {}

    def records(self, kind: Kind[R]) -> Iterator[R]:
        """See `Snapshot.records`."""
        if kind.follows is not None or kind.name in self._walks:
            return super().records(kind)
        walk = self._walk(kind)
        return self._while_sound((item.record for item in walk) if kind.name in FOLLOWERS else walk)

    def led(self, kind: Kind[Any]) -> Iterator[AnyLed]:
        """See `Snapshot.led`."""
        if kind.name in self._walks:
            return super().led(kind)
        self._walks[kind.name] = walk = self._led(kind, keeps_lines=True)
        return self._while_sound(walk)

    def _while_sound(self, items: Iterator[T]) -> Iterator[T]:
        for item in items:
            if not self._is_sound:
                break
            yield item
        if not self._is_sound:
            raise DamagedSnapshotError(f"snapshot {self.timestamp} is damaged", hint="run `mlmeta verify`")

    def problems(self) -> list[Problem]:
        """What is wrong, file by file; what nobody has read yet is read now. References count in sound files.

        Raises:
            StorageError: the storage can't be read at all.
        """
        self._read_rest(EXPERIMENTS)
        self._read_rest(MODELS)  # before the runs: then those that models name are known, and no others are kept
        self._read_rest(LOGGED_MODELS)
        for kind in KINDS.values():
            self._read_rest(kind)
        others = {name: entry for name, entry in self.summary.files.items() if name not in KINDS}
        for name, entry in others.items():  # of a newer minor version: its records are unknown here, its bytes are not
            with self._noted(name, entry):
                self.storage.confirm(entry.name, Digest(entry.bytes, entry.sha256))
        self._tell()
        damage = [problem for name in (*KINDS, *others) for problem in self._damage.get(name, ())]
        return damage or [*self._references.problems()]

    def notices(self) -> list[str]:
        """What is not damage, but good to know, once `problems` was asked."""
        return [] if self._damage else [*self._references.notices()]

    def dangling(self) -> list[str]:
        """References of models that lead nowhere: sound, for a version may outlive its run.

        Of a snapshot without problems that nobody has read before. One that is limited to some experiments lacks runs
        on purpose.
        """
        return [*self._references.dangling()]

    def _read_rest(self, kind: Kind[Any]) -> None:
        if kind.follows is None:
            for _ in self._walk(kind):
                pass

    def _walk(self, kind: Kind[Any]) -> Iterator[Any]:
        """The one walk through a file, as far as it has come: its good records, perhaps with those that follow them."""
        if kind.name not in self._walks:
            is_led = kind.name in FOLLOWERS
            self._walks[kind.name] = self._led(kind, keeps_lines=False) if is_led else self._others(kind)
        return self._walks[kind.name]

    def _others(self, kind: Kind[Any]) -> Iterator[Any]:
        if kind.owner is not None:
            self._read_rest(kind.owner)
        for record in self._counted(kind):
            if kind is EXPERIMENTS:
                self._references.take_experiment(record)
            elif kind in _OWNERS:
                self._references.take_owner(kind, record)
            elif kind.owner is not None:
                self._is_sound &= self._references.take_owned(kind, kind.owner, record)
            elif kind is MODELS:
                self._references.take_model(record)
            elif kind is LOGGED_MODELS:
                self._references.take_logged_model(record)
            yield record

    def _counted(self, kind: Kind[Any]) -> Iterator[Any]:
        """The good records of a file, counted as the summary does, by which a restore goes: a difference is noted."""
        found: Counter[str] = Counter()
        for record, _ in self._good(kind):
            if kind.counted_by is not None:
                found[kind.counted_by(record)] += 1
            yield record
        entry, told = self.summary.files.get(kind.name), self.summary.tables
        if kind.counted_by is None or entry is None or not self._is_sound:
            return
        for name in (name for name in sorted({*found, *told}) if found[name] != told.get(name, 0)):
            what = f"{found[name]:,} {kind.many} of {cut(name, 100)!r}, and the summary says {told.get(name, 0):,}"
            self._note(kind.name, entry, f"{entry.name} has {what}")
            return

    def _led(self, kind: Kind[Any], *, keeps_lines: bool) -> Iterator[AnyLed]:
        """Runs and histories, or traces and spans, side by side, in one walk through both files."""
        self._read_rest(EXPERIMENTS)
        part = FOLLOWERS[kind.name]
        leader: Any = part.leader
        items = self._good(part)
        following = Following(kind, items, lambda item: leader(item[0]))
        for record, _ in self._good(kind):
            self._is_sound &= self._references.take_led(kind, record)
            lines, last = [], None
            for follower, text in following.of(record):
                if kind is RUNS:
                    self._references.compare_latest(record, follower)
                last = self._next_follower(part, follower, last)
                if keeps_lines:
                    lines.append(follower if isinstance(follower, SpanLine) else as_line(part, text))
            yield Led(record, tuple(lines))
        if following.next is not None:
            self._references.strays.append(part)
        for _ in items:
            pass

    def _next_follower(self, kind: Kind[Any], follower: Record, last: Any) -> Any:
        """The place of a record that follows another; noted, if it is not behind the last one where each is once."""
        place = kind.order(follower)
        if kind.repeats is None and last is not None and not last < place:
            what = f"{kind.one} {kind.key(follower)} is out of order, or there twice"
            self._note(kind.name, self.summary.files[kind.name], what)
        return place

    def _good(self, kind: Kind[Any]) -> Iterator[tuple[Any, bytes]]:
        """The good records of a file, with their lines. Each bad one is noted; of more than `MOST`, their number."""
        entry = self.summary.files.get(kind.name)
        if entry is None:
            return
        bad, order, in_order = 0, OrderGuard(), True
        with self._noted(kind.name, entry):
            try:
                for item in self.inspect(kind):
                    self._count()
                    if isinstance(item, DamagedSnapshotError):
                        bad += 1
                        if bad <= MOST:
                            self._note(kind.name, entry, str(item))
                        continue
                    if in_order and kind.follows is None and not _is_next(order, kind, item[0]):
                        in_order = self._is_sound = False
                    yield item
            finally:
                if bad > MOST:
                    self._note(kind.name, entry, f"{entry.name} has {bad - MOST:,} more bad records")
                if not in_order:
                    what = f"the records of {entry.name} are out of order, or one is there twice"
                    self._note(kind.name, entry, what)

    @contextlib.contextmanager
    def _noted(self, kind: str, entry: FileEntry) -> Iterator[None]:
        """What is wrong with a file as a whole is noted."""
        try:
            yield
        except ObjectMissingError:
            self._note(kind, entry, f"{entry.name} is missing")
        except MlmetaError as error:
            self._note(kind, entry, str(error))

    def _note(self, kind: str, entry: FileEntry, message: str) -> None:
        self._is_sound = False
        self._references.give_up()
        self._damage.setdefault(kind, []).append(Problem(file=entry.name, message=message))

    def _count(self) -> None:
        self._untold += 1
        if self._untold == _TOLD:
            self._tell()

    def _tell(self) -> None:
        if self._advance:
            self._advance(self._untold)
        self._untold = 0


def _is_next(order: OrderGuard, kind: Kind[Record], record: Record) -> bool:
    try:
        order.check(kind, record)
    except InternalError:
        return False
    return True


class _References:
    """What records refer to, seen while they go by: experiments before their runs, runs with their histories.

    Args:
        snapshot: that they are of.
    """

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._experiments: set[str] = set()
        self._owners: dict[str, set[str]] = {}
        self._homeless: list[Problem] = []
        self._behind: dict[str, str] = {}
        self._of_lost_runs: dict[str, list[str]] = {}
        self._lost_aliases: list[str] = []
        self._given_up = False
        self.strays: list[Kind[Any]] = []
        """The kinds of which there are records that are not where they belong."""

    def give_up(self) -> None:
        """Where records are bad or missing, references to them say nothing."""
        self._given_up = True
        self._homeless.clear()

    def take_experiment(self, record: Experiment) -> None:
        """The next good experiment."""
        self._experiments.add(record.experiment_id)

    def take_owner(self, kind: Kind[Any], record: Record) -> None:
        """The next good record of a kind that records of another one belong to."""
        self._owners.setdefault(kind.name, set()).add(kind.key(record))

    def take_owned(self, kind: Kind[Any], owner: Kind[Any], record: Record) -> bool:
        """The next good record that belongs to one of another kind: whether that is there."""
        key = kind.owned_by(record) if kind.owned_by is not None else ""
        if key in self._owners.get(owner.name, ()):
            return True
        if not self._given_up:
            message = f"{kind.one} {kind.key(record)} is of {owner.one} {key}, which is missing"
            self._homeless.append(Problem(file=self._snapshot.summary.files[kind.name].name, message=message))
        return False

    def take_led(self, kind: Kind[Any], record: Any) -> bool:
        """The next good run or trace: whether its experiment is there."""
        if kind is RUNS:
            self._of_lost_runs.pop(record.run_id, None)
        if record.experiment_id in self._experiments:
            return True
        if not self._given_up:
            message = f"{kind.one} {kind.key(record)} is in experiment {record.experiment_id}, which is missing"
            self._homeless.append(Problem(file=self._snapshot.summary.files[kind.name].name, message=message))
        return False

    def take_model(self, model: RegisteredModel) -> None:
        """The next good registered model."""
        versions = {version.version for version in model.versions}
        for version in model.versions:
            if version.run_id:
                what = f"model {model.name!r} version {version.version} is"
                self._of_lost_runs.setdefault(version.run_id, []).append(what)
        self._lost_aliases += [
            f"alias {alias!r} of model {model.name!r} names version {number}, which does not exist"
            for alias, number in model.aliases.items()
            if number not in versions
        ]

    def take_logged_model(self, model: LoggedModel) -> None:
        """The next good logged model."""
        for run_id in {metric.run_id for metric in model.metrics}:
            what = f"metrics of logged model {model.model_id} are"
            self._of_lost_runs.setdefault(run_id, []).append(what)

    def compare_latest(self, run: Run, history: MetricHistory) -> None:
        """Note a run whose latest metric is older than its own history."""
        latest = run.metrics.get(history.key)
        if latest is not None and (history.step[-1], history.timestamp[-1]) > (latest.step or 0, latest.timestamp or 0):
            self._behind.setdefault(history.run_id, history.key)

    def notices(self) -> Iterator[str]:
        """See `CheckedSnapshot.notices`."""
        if self._behind and not self.strays:
            run, key = next(iter(self._behind.items()))
            yield (
                f"a latest metric that is older than its own history, in {amount(len(self._behind), 'runs')}, such as "
                f"{key!r} of run {run}: written during the backup, or the store itself has it like this"
            )

    def dangling(self) -> Iterator[str]:
        """See `CheckedSnapshot.dangling`."""
        yield from self._lost_aliases
        for run, found in self._of_lost_runs.items() if not self._snapshot.summary.selection.is_limited else ():
            yield from (f"{what} from run {run}, which is missing" for what in found)

    def problems(self) -> Iterator[Problem]:
        """What is wrong."""
        yield from self._homeless
        for kind in self.strays:
            yield from _strays(self._snapshot, kind)


def _strays(snapshot: Snapshot, kind: Kind[Any]) -> Iterator[Problem]:
    """Records that are not where they belong. Only here all ids of what they follow are held in memory."""
    name, leader, leads = snapshot.summary.files[kind.name].name, kind.leader, kind.follows
    if leads is None or leader is None:
        return
    known = set(map(leads.key, snapshot.records(leads)))
    strays = [line for line in snapshot.lines(kind) if leader(line) not in known]
    for line in strays:
        what = f"{kind.one} {kind.key(line)} is of {leads.one} {leader(line)}, which is missing"
        yield Problem(file=name, message=what)
    if not strays:
        yield Problem(file=name, message=f"the {kind.many} of {name} are not in the order of their {leads.many}")


def strangers(snapshot: Snapshot, files: FileSet) -> list[Problem]:
    """Files that carry the snapshot's timestamp, and that its summary does not name.

    Args:
        snapshot: of that timestamp.
        files: all files of that timestamp in its storage.
    """
    named = {entry.name for entry in snapshot.summary.files.values()}
    return [
        Problem(file=stored.name, message=f"{stored.name} is not named in the snapshot's summary")
        for stored in sorted([*files.all, *files.odd], key=lambda stored: stored.name)
        if stored != files.summary and stored.name not in named
    ]
