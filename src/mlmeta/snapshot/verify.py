"""Checks a snapshot against itself: files, records, and the references between them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from pydantic import BaseModel, ConfigDict

from mlmeta.errors import MlmetaError, ObjectMissingError
from mlmeta.schema import EXPERIMENTS, KINDS, METRICS, RUNS, Kind, Record
from mlmeta.snapshot.layout import FileSet
from mlmeta.snapshot.reader import Snapshot
from mlmeta.storage import Digest

_TOLD = 1000


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
    """All that is wrong with a snapshot: size, SHA-256, record count and schema of each file; references.

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
                _read_all(snapshot, KINDS[name], advance)
            else:  # of a newer minor version: its records are unknown here, its bytes are not
                snapshot.storage.confirm(entry.name, Digest(entry.bytes, entry.sha256))
        except ObjectMissingError:
            yield Problem(file=entry.name, message=f"{entry.name} is missing")
        except MlmetaError as error:
            yield Problem(file=entry.name, message=str(error))


def _read_all(snapshot: Snapshot, kind: Kind[Record], advance: Callable[[int], None] | None) -> None:
    count = 0
    for count, _ in enumerate(snapshot.records(kind), start=1):
        if advance and count % _TOLD == 0:
            advance(_TOLD)
    if advance:
        advance(count % _TOLD)


def _reference_problems(snapshot: Snapshot) -> Iterator[Problem]:
    """References that lead nowhere. A model version may outlive its run: that is no problem."""
    experiments = {e.experiment_id for e in snapshot.records(EXPERIMENTS)}
    try:
        for item in snapshot.runs():
            if item.run.experiment_id not in experiments:
                yield Problem(
                    file=snapshot.summary.files[RUNS.name].name,
                    message=f"run {item.run.run_id} is in experiment {item.run.experiment_id}, which is missing",
                )
    except MlmetaError as error:
        yield Problem(file=snapshot.summary.files[METRICS.name].name, message=str(error))
