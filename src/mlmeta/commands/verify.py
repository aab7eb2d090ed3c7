"""`mlmeta verify`: can these snapshots be trusted?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from mlmeta.commands.result import Issue, Result
from mlmeta.errors import ExitCode, MlmetaError, SnapshotError, SnapshotNotFoundError, StorageError
from mlmeta.metrics import LAST_DRILL, PROBLEMS, VERIFIED, Sample
from mlmeta.notebook import Row
from mlmeta.progress import Progress, Silent, counted
from mlmeta.schema import Names, Selection, several
from mlmeta.schema.words import amount
from mlmeta.snapshot.catalog import SnapshotState, describe, file_sets, ignored
from mlmeta.snapshot.find import Which, find, meant_sets
from mlmeta.snapshot.layout import group
from mlmeta.snapshot.reader import Snapshot, open_snapshot
from mlmeta.snapshot.verify import CheckedSnapshot, Problem, strangers
from mlmeta.storage import Location, Storage, open_storage
from mlmeta.stores.opening import Store, open_target, which
from mlmeta.stores.proof import Comparison, prove, records_of
from mlmeta.stores.target import NO_PLACE, NO_RUN, Report, RestoreOptions
from mlmeta.temporary import scratch_folder


class Verified(BaseModel):
    """A snapshot, and what is wrong with it.

    Args:
        timestamp: its name; what was asked for where it can't be read at all.
        legacy: whether an older script wrote it.
        records: how many it holds.
        problems: what is wrong.
        notices: references that lead nowhere, and may: a model version can outlive its run.
        drill: what a trial restore gave back; None where that was not asked for.
    """

    model_config = ConfigDict(frozen=True)

    timestamp: str
    legacy: bool = False
    records: int = 0
    problems: tuple[Problem, ...] = ()
    notices: tuple[str, ...] = ()
    drill: Comparison | None = None


_Check = Callable[[Storage, str, Which, Progress], Verified]


def _issues(found: Verified) -> list[Issue]:
    damaged = [Issue(code="damaged", message=problem.message) for problem in found.problems]
    differences = found.drill.differences if found.drill else ()
    return [*damaged, *(Issue(code="different", message=str(difference)) for difference in differences)]


class VerifyResult(Result):
    """What was verified."""

    storage: str
    quick: bool
    snapshots: tuple[Verified, ...]

    @property
    def headline(self) -> str:
        """How many, and where."""
        return f"{amount(len(self.snapshots), 'snapshots')} in {self.storage}"

    def entries(self) -> Iterator[Row]:
        """Each snapshot."""
        for one in self.snapshots:
            yield {"snapshot": one.timestamp, "records": one.records, "problems": len(_issues(one))}

    @property
    def issues(self) -> tuple[Issue, ...]:
        """All problems, and what a drill gave back differently."""
        return tuple(issue for found in self.snapshots for issue in _issues(found))

    @property
    def exit_code(self) -> ExitCode:
        """`DIFFERENT` where anything is wrong."""
        return ExitCode.DIFFERENT if self.issues else ExitCode.DONE

    def measures(self, ended: float) -> tuple[Sample, ...]:
        """What was checked, and what is wrong with it."""
        drills = [found.drill for found in self.snapshots if found.drill is not None]
        proved = bool(drills) and not self.issues
        return (
            Sample(VERIFIED, len(self.snapshots)),
            Sample(PROBLEMS, len(self.issues)),
            *([Sample(LAST_DRILL, ended)] if proved else []),
        )


def verify(
    selectors: Names = ("latest",),
    storage: Location = "backups",
    *,
    of_source: Location = "",
    every: bool = False,
    quick: bool = False,
    with_drill: bool = False,
    progress: Progress | None = None,
) -> VerifyResult:
    """Check snapshots: sizes, SHA-256, record counts, the schema of every record, references between records.

    Args:
        selectors: which snapshot, or several.
        storage: where they are.
        of_source: label or tracking URI of the source that is meant, where the storage has several.
        every: all committed snapshots of the storage, or of that source, instead.
        quick: only presence and sizes.
        with_drill: restore each into a throwaway database as well, and compare what comes back.
        progress: told how far it is.

    Raises:
        SnapshotNotFoundError: there is no such snapshot.
        StorageError: the storage can't be read.
    """
    place = open_storage(storage)
    aside: tuple[str, ...] = ()
    if every:
        files = list(place.files())
        aside = tuple(ignored(place, files))
        sets = [one for one in group(files) if one.summary is not None]
        selectors = [one.timestamp for one in meant_sets(sets, which(of_source), place)]
        if not selectors:
            raise SnapshotNotFoundError(f"no snapshots in {place.location}", hint="create one with `mlmeta backup`")
    check: _Check = _quick if quick else _drilled if with_drill else _thorough
    if every:
        check = _going_on(check)
    meant = which(of_source)
    found = tuple(check(place, selector, meant, progress or Silent()) for selector in several(selectors))
    warnings = (f"{one.timestamp}: {notice}" for one in found for notice in one.notices)
    return VerifyResult(storage=place.location, quick=quick, snapshots=found, warnings=(*aside, *warnings))


def _going_on(check: _Check) -> _Check:
    """A check that names a snapshot which can't be read at all, so that the others get their turn."""

    def checked(place: Storage, selector: str, meant: Which, progress: Progress) -> Verified:
        try:
            return check(place, selector, meant, progress)
        except (SnapshotError, StorageError) as error:
            return Verified(timestamp=selector, problems=(Problem(file="", message=str(error)),))

    return checked


def _drilled(place: Storage, selector: str, meant: Which, progress: Progress) -> Verified:
    return _thorough(place, selector, meant, progress, with_drill=True)


def _thorough(place: Storage, selector: str, meant: Which, progress: Progress, *, with_drill: bool = False) -> Verified:
    progress.phase(f"verifying {selector}")
    try:
        snapshot = open_snapshot(place, selector, meant)
    except SnapshotNotFoundError:
        raise
    except MlmetaError as error:
        if error.exit_code is not ExitCode.DIFFERENT:
            raise
        return Verified(timestamp=selector, problems=(Problem(file="", message=str(error)),))
    progress.expect("records", snapshot.record_count)
    checked = CheckedSnapshot(snapshot, lambda count: progress.advance("records", count))
    unknown = (f"{one.kind}: only their file was checked: {one.reason}" for one in snapshot.unknown)
    with checked.kept_open():
        files = next(files for files in file_sets(place) if files.timestamp == snapshot.timestamp)
        problems = (*checked.problems(), *strangers(checked, files))
        return Verified(
            timestamp=snapshot.timestamp,
            legacy=snapshot.is_legacy,
            records=snapshot.record_count,
            problems=problems,
            notices=(*snapshot.notes, *unknown, *checked.notices(), *(() if problems else checked.dangling())),
            drill=drill(checked, progress) if with_drill and not problems else None,
        )


def _quick(place: Storage, selector: str, meant: Which, _: Progress) -> Verified:
    found = find(place, selector, meant)
    info = describe(place, found.files, 0)
    problems = () if info.state.restorable else (Problem(file="", message=f"{info.timestamp}: {info.problem}"),)
    return Verified(
        timestamp=info.timestamp, legacy=info.state is SnapshotState.LEGACY, problems=problems, notices=found.notes
    )


def drill(snapshot: Snapshot, progress: Progress) -> Comparison:
    """Restore a whole snapshot into a SQLite file that is thrown away, and prove that it is all there.

    What no store can hold is no difference: metrics of logged models that are of runs which the snapshot lacks.

    Args:
        snapshot: to be tried.
        progress: told how far it is.

    Raises:
        SnapshotError: the snapshot is damaged.
        RestoreError: it can't be restored.
    """
    with scratch_folder() as folder, snapshot.kept_open():
        has_auth = bool(snapshot.summary.auth_uri)
        auth_uri = f"sqlite:///{Path(folder) / 'auth.db'}" if has_auth else ""
        store = Store(f"sqlite:///{Path(folder) / 'drill.db'}", auth_uri=auth_uri)
        selection = Selection(auth=has_auth)
        with open_target(store, RestoreOptions(ids="keep")) as target:
            refused = target.restore(snapshot, selection, progress).refused
            excused = tuple(refusal for refusal in refused if refusal.code in {NO_PLACE, NO_RUN})
            placeless = (f"{refusal.kind} {refusal.id}" for refusal in excused if refusal.code == NO_PLACE)
            unkept = (*target.unkept, *placeless)
            progress.phase("reading it back")
            pairs = counted(target.read_back(snapshot, selection), progress, "records", records_of)
            return prove(pairs, unkept, Report(refused=excused) if excused else None)
