"""Checks a snapshot against itself: files, records, and the references between them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

from pydantic import BaseModel, ConfigDict

from mlmeta.errors import DamagedSnapshotError, MlmetaError, ObjectMissingError
from mlmeta.schema import EXPERIMENTS, KINDS, METRICS, MODELS, RUNS, Kind, Record
from mlmeta.snapshot.layout import FileSet
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


def verify_snapshot(snapshot: Snapshot, advance: Callable[[int], None] | None = None) -> list[Problem]:
    """All that is wrong with a snapshot: size, SHA-256, record count of each file; each bad record; references.

    Args:
        snapshot: to be read in full.
        advance: told the number of records read since it was last told.

    Raises:
        StorageError: the storage can't be read at all.
    """
    problems = [*_file_problems(snapshot, advance)]
    return problems or [*_reference_problems(snapshot)]


def strangers(snapshot: Snapshot, files: FileSet) -> list[Problem]:
    """Files that carry the snapshot's timestamp, and that its summary does not name.

    Args:
        snapshot: of that timestamp.
        files: all files of that timestamp in its storage.
    """
    named = {entry.name for entry in snapshot.summary.files.values()}
    return [
        Problem(file=stored.name, message=f"{stored.name} is not named in the snapshot's summary")
        for stored in sorted(files.all, key=lambda stored: stored.name)
        if stored != files.summary and stored.name not in named
    ]


def _file_problems(snapshot: Snapshot, advance: Callable[[int], None] | None) -> Iterator[Problem]:
    for name, entry in snapshot.summary.files.items():
        try:
            if name in KINDS:
                yield from _record_problems(snapshot, KINDS[name], advance)
            else:  # of a newer minor version: its records are unknown here, its bytes are not
                snapshot.storage.confirm(entry.name, Digest(entry.bytes, entry.sha256))
        except ObjectMissingError:
            yield Problem(file=entry.name, message=f"{entry.name} is missing")
        except MlmetaError as error:
            yield Problem(file=entry.name, message=str(error))


def _record_problems(
    snapshot: Snapshot, kind: Kind[Record], advance: Callable[[int], None] | None
) -> Iterator[Problem]:
    """Each bad record of a file; of more than `MOST`, the number of the others."""
    name = snapshot.summary.files[kind.name].name
    bad = 0
    of_the_file: MlmetaError | None = None
    try:
        for item in _told(snapshot.inspect(kind), advance):
            if isinstance(item, DamagedSnapshotError):
                bad += 1
                if bad <= MOST:
                    yield Problem(file=name, message=str(item))
    except MlmetaError as error:
        of_the_file = error
    if bad > MOST:
        yield Problem(file=name, message=f"{name} has {bad - MOST:,} more bad records")
    if of_the_file is not None:
        raise of_the_file


def _told(items: Iterator[T], advance: Callable[[int], None] | None) -> Iterator[T]:
    count = 0
    for count, item in enumerate(items, start=1):
        yield item
        if advance and count % _TOLD == 0:
            advance(_TOLD)
    if advance:
        advance(count % _TOLD)


def _reference_problems(snapshot: Snapshot) -> Iterator[Problem]:
    """Runs in experiments that are missing, and histories of runs that are."""
    experiments = {e.experiment_id for e in snapshot.records(EXPERIMENTS)}
    histories = snapshot.history_lines() if not snapshot.is_legacy else iter(())
    following = next(histories, None)
    for run in snapshot.records(RUNS):
        if run.experiment_id not in experiments:
            yield Problem(
                file=snapshot.summary.files[RUNS.name].name,
                message=f"run {run.run_id} is in experiment {run.experiment_id}, which is missing",
            )
        while following is not None and following.run_id == run.run_id:
            following = next(histories, None)
    if following is not None:
        yield from _stray_histories(snapshot)


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
