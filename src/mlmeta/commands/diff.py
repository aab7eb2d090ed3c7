"""`mlmeta diff`: what changed between two snapshots, or between a snapshot and the store as it is now."""

from __future__ import annotations

from collections.abc import Sequence

from mlmeta.commands import sides
from mlmeta.commands.previous import why_not
from mlmeta.commands.result import Issue, Result
from mlmeta.commands.sides import Side
from mlmeta.errors import ExitCode
from mlmeta.progress import Progress, Silent
from mlmeta.schema import Skipped, several
from mlmeta.snapshot.diff import Changes, compared
from mlmeta.stores.opening import DEFAULT_JOBS, Store, identity_of, open_snapshot, open_source


class DiffResult(Result):
    """What changed.

    Args:
        before: timestamp of the snapshot before.
        after: timestamp of the snapshot after, or the address of the store that was read, without credentials.
        experiments: names of those that were compared; empty: all.
        comparison: what changed.
        unread: what could not be read.
    """

    before: str
    after: str
    experiments: tuple[str, ...] = ()
    comparison: Changes
    unread: tuple[Skipped, ...] = ()

    @property
    def is_report(self) -> bool:
        """It is what was asked for."""
        return False

    @property
    def issues(self) -> tuple[Issue, ...]:
        """What could not be read, and so may look removed."""
        return tuple(Issue(code="not_read", message=f"{one.kind} {one.id}: {one.reason}") for one in self.unread)

    @property
    def exit_code(self) -> ExitCode:
        """`DIFFERENT` where anything changed."""
        if not self.comparison.is_equal:
            return ExitCode.DIFFERENT
        return ExitCode.INCOMPLETE if self.unread else ExitCode.DONE


def diff(
    before: str = "latest",
    after: str | None = None,
    storage: str = "backups",
    *,
    of_source: str = "",
    tracking_uri: str = "",
    registry_uri: str | None = None,
    experiments: str | Sequence[str] = (),
    incremental: bool = False,
    jobs: int = DEFAULT_JOBS,
    progress: Progress | None = None,
) -> DiffResult:
    """Compare a snapshot with another one, or with the store as it is now.

    Args:
        before: a snapshot.
        after: another one; None: the store at `tracking_uri`.
        storage: where the snapshots are.
        of_source: label or tracking URI of the source that `latest` means, where the storage has several; empty: the
            one at `tracking_uri`, where it is among them.
        tracking_uri: the MLflow server or store to compare with, where there is no `after`.
        registry_uri: of its model registry; None: as MLflow resolves it.
        experiments: only these, their runs, and the models with a version from them; empty: all that both sides cover.
        incremental: do not ask the store for histories that can't have changed since the snapshot (nor see points that
            were added, through the API, behind the latest step of a run that had ended).
        jobs: requests under way at once.
        progress: told how far it is.

    Raises:
        SnapshotNotFoundError: there is no such snapshot.
        DamagedSnapshotError: it can't be trusted.
        ConnectionFailedError: the store can't be read.
        UsageError: there is no experiment to compare.
    """
    progress = progress or Silent()
    experiments = several(experiments)
    snapshot = open_snapshot(storage, before, of_source=of_source, likely=tracking_uri)
    if after is not None:
        other = open_snapshot(storage, after, of_source=of_source, likely=tracking_uri)
        with snapshot.kept_open(), other.kept_open():
            cautions = tuple(dict.fromkeys((*snapshot.notes, *other.notes)))
            return _compared(sides.of_snapshot(snapshot), sides.of_snapshot(other), experiments, progress, cautions)
    store = Store(tracking_uri, registry_uri, jobs)
    with open_source(store) as source, snapshot.kept_open():
        first = sides.of_snapshot(snapshot)
        identity = identity_of(store, source.info)
        why = why_not(snapshot, identity, frozenset(experiments) or first.limit) if incremental else ""
        base = snapshot if incremental and not why else None
        second = sides.of_store(source, identity, progress, base)
        cautions = (*snapshot.notes, *([f"all histories were read: {why}"] if why else ()))
        return _compared(first, second, experiments, progress, cautions)


def _compared(
    before: Side, after: Side, experiments: Sequence[str], progress: Progress, cautions: Sequence[str]
) -> DiffResult:
    progress.phase("comparing")
    wanted = sides.common(before, after, experiments)
    found = compared(*sides.parts(before, after, wanted), blind=sides.blind(before, after))
    return DiffResult(
        before=before.shown,
        after=after.shown,
        experiments=tuple(sorted(wanted)),
        comparison=found,
        unread=tuple(after.unread),
        warnings=(*sides.cautions(before, after, differ=bool(found.changes)), *cautions),
    )
