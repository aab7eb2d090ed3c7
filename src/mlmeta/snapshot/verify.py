"""Checks a snapshot against itself: files, records, and the references between them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

from pydantic import BaseModel, ConfigDict

from mlmeta.errors import DamagedSnapshotError, InternalError, MlmetaError, ObjectMissingError
from mlmeta.schema import KINDS, METRICS, MODELS, RUNS, Experiment, Kind, MetricHistory, Record, Run
from mlmeta.snapshot.layout import FileSet
from mlmeta.snapshot.order import OrderGuard
from mlmeta.snapshot.reader import Snapshot
from mlmeta.storage import Digest

MOST = 1000
"""Bad records of one file that are named one by one."""
_TOLD = 1000
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


def verify_snapshot(
    snapshot: Snapshot, advance: Callable[[int], None] | None = None, notices: list[str] | None = None
) -> list[Problem]:
    """All that is wrong with a snapshot: size, SHA-256, record count of each file; each bad record; references.

    Args:
        snapshot: to be read in full.
        advance: told the number of records read since it was last told.
        notices: takes what is no damage, and good to know.

    Raises:
        StorageError: the storage can't be read at all.
    """
    references = _References(snapshot)
    problems = [*_file_problems(snapshot, references, advance)]
    if notices is not None:
        notices.extend(references.notices())
    return problems or [*references.problems()]


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


def _file_problems(
    snapshot: Snapshot, references: _References, advance: Callable[[int], None] | None
) -> Iterator[Problem]:
    places = {name: place for place, name in enumerate(KINDS)}
    for name, entry in sorted(snapshot.summary.files.items(), key=lambda item: places.get(item[0], len(places))):
        try:
            if name in KINDS:
                for problem in _record_problems(snapshot, KINDS[name], references, advance):
                    references.give_up()
                    yield problem
            else:  # of a newer minor version: its records are unknown here, its bytes are not
                snapshot.storage.confirm(entry.name, Digest(entry.bytes, entry.sha256))
        except ObjectMissingError:
            references.give_up()
            yield Problem(file=entry.name, message=f"{entry.name} is missing")
        except MlmetaError as error:
            references.give_up()
            yield Problem(file=entry.name, message=str(error))


def _record_problems(
    snapshot: Snapshot, kind: Kind[Record], references: _References, advance: Callable[[int], None] | None
) -> Iterator[Problem]:
    """Each bad record of a file; of more than `MOST`, the number of the others."""
    name = snapshot.summary.files[kind.name].name
    bad = 0
    order, in_order = OrderGuard(), True
    of_the_file: MlmetaError | None = None
    try:
        for item in _told(snapshot.inspect(kind), advance):
            if isinstance(item, DamagedSnapshotError):
                bad += 1
                if bad <= MOST:
                    yield Problem(file=name, message=str(item))
                continue
            references.take(item)
            in_order = in_order and (kind.follows is not None or _is_next(order, kind, item))
    except MlmetaError as error:
        of_the_file = error
    if bad > MOST:
        yield Problem(file=name, message=f"{name} has {bad - MOST:,} more bad records")
    if not in_order:
        yield Problem(file=name, message=f"the records of {name} are out of order, or one is there twice")
    if of_the_file is not None:
        raise of_the_file


def _is_next(order: OrderGuard, kind: Kind[Record], record: Record) -> bool:
    try:
        order.check(kind, record)
    except InternalError:
        return False
    return True


def _told(items: Iterator[T], advance: Callable[[int], None] | None) -> Iterator[T]:
    count = 0
    for count, item in enumerate(items, start=1):
        yield item
        if advance and count % _TOLD == 0:
            advance(_TOLD)
    if advance:
        advance(count % _TOLD)


class _References:
    """Runs in experiments that are missing, and histories of runs that are: seen while records go by, in file order.

    Args:
        snapshot: that they are of. Its runs are read once more, beside the histories: all their ids would take memory.
    """

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._experiments: set[str] = set()
        self._homeless: list[Problem] = []
        self._runs = (run for run in snapshot.records(RUNS))
        self._run: Run | None = None
        self._behind: dict[str, str] = {}
        self._strays = self._given_up = False

    def give_up(self) -> None:
        """Where records are bad or missing, references to them say nothing."""
        self._given_up = True
        self._runs.close()

    def take(self, record: Record) -> None:
        """The next good record."""
        if self._given_up:
            return
        if isinstance(record, MetricHistory):
            if self._run is None or record.run_id != self._run.run_id:
                self._move_to(record.run_id)
            self._compare_latest(record)
        elif isinstance(record, Run):
            if record.experiment_id not in self._experiments:
                message = f"run {record.run_id} is in experiment {record.experiment_id}, which is missing"
                self._homeless.append(Problem(file=self._snapshot.summary.files[RUNS.name].name, message=message))
        elif isinstance(record, Experiment):
            self._experiments.add(record.experiment_id)

    def _move_to(self, run_id: str) -> None:
        if not self._strays:
            self._run = next((run for run in self._runs if run.run_id == run_id), None)
            self._strays = self._run is None

    def _compare_latest(self, history: MetricHistory) -> None:
        latest = self._run.metrics.get(history.key) if self._run is not None else None
        if latest is not None and (history.step[-1], history.timestamp[-1]) > (latest.step or 0, latest.timestamp or 0):
            self._behind.setdefault(history.run_id, history.key)

    def notices(self) -> Iterator[str]:
        """What is no damage."""
        if self._behind and not self._given_up and not self._strays:
            run, key = next(iter(self._behind.items()))
            yield (
                f"{len(self._behind):,} runs have a latest metric that is older than its own history, such as {key!r} "
                f"of run {run}: they were read while they were written, or the store itself has them so"
            )

    def problems(self) -> Iterator[Problem]:
        """What is wrong, once all records went by."""
        self._runs.close()
        yield from self._homeless
        if self._strays:
            yield from _stray_histories(self._snapshot)


def _stray_histories(snapshot: Snapshot) -> Iterator[Problem]:
    """Histories that are not where they belong. Only here all run ids are held in memory."""
    name = snapshot.summary.files[METRICS.name].name
    runs = {run.run_id for run in snapshot.records(RUNS)}
    strays = [line for line in snapshot.history_lines() if line.run_id not in runs]
    for line in strays:
        yield Problem(file=name, message=f"it has a history of {line.key!r} of run {line.run_id}, which is missing")
    if not strays:
        yield Problem(file=name, message=f"the histories of {name} are not in the order of their runs")


def dangling(snapshot: Snapshot) -> list[str]:
    """References of model versions that lead nowhere: sound, for a version may outlive its run, but good to know.

    Args:
        snapshot: without problems. One that is limited to some experiments lacks runs on purpose.
    """
    wanted: dict[str, list[str]] = {}
    found = []
    for model in snapshot.records(MODELS):
        versions = {version.version for version in model.versions}
        for version in model.versions:
            if version.run_id:
                wanted.setdefault(version.run_id, []).append(f"{model.name!r} version {version.version}")
        found += [
            f"alias {alias!r} of model {model.name!r} names version {number}, which does not exist"
            for alias, number in model.aliases.items()
            if number not in versions
        ]
    if wanted and not snapshot.summary.experiments:
        for run in snapshot.records(RUNS):
            wanted.pop(run.run_id, None)
        found += [
            f"model {name} is of run {run}, which is not there" for run, names in wanted.items() for name in names
        ]
    return found
