"""`mlmeta report`: a snapshot as one HTML page. No server is needed, neither to make it nor to look at it."""

from __future__ import annotations

import os
import secrets
import shlex
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, ClassVar

from mlmeta import __version__
from mlmeta.commands.diff import diff
from mlmeta.commands.result import Result
from mlmeta.errors import SnapshotError, StorageError, UsageError
from mlmeta.page import html
from mlmeta.page.curves import BYTES_A_POINT, Ranks, curves_of
from mlmeta.page.model import About, Backup, Command, CurveData, Difference, PageData
from mlmeta.page.runs import MOST_RUNS, digits_for, experiment_pages, model_pages, newest_runs
from mlmeta.progress import Progress, Silent, counted
from mlmeta.schema import KINDS, Selection, Summary
from mlmeta.schema.words import amount
from mlmeta.snapshot import layout
from mlmeta.snapshot.by_kind import ByKind
from mlmeta.snapshot.catalog import SnapshotInfo, SnapshotState, file_sets, glance
from mlmeta.snapshot.reader import Snapshot
from mlmeta.snapshot.selected import Selected
from mlmeta.storage import Location
from mlmeta.stores.opening import DATABASES, open_snapshot

DEFAULT_SIZE = 1_000_000
"""Bytes that a page shall have at most."""
_FEWEST_POINTS = 2_000
"""Points of curves that a page has, however big it is without them."""
_MOST_CHANGES = 300
_MOST_BACKUPS = 500
_TRIES = 3
_MODE = 0o600


class ReportResult(Result):
    """The page that was written.

    Args:
        timestamp: of the snapshot.
        storage: where that is.
        path: of the file; empty: it went into a stream.
        size: bytes.
        experiments: on the page; likewise `runs`, `models` and `curves`.
        curves_left_out: histories of metrics that the page has no curve of, to stay small.
        before: timestamp of the snapshot that it was compared with; empty: of none.
    """

    timestamp: str
    storage: str
    path: str
    size: int
    experiments: int
    runs: int
    models: int
    curves: int
    curves_left_out: int
    before: str

    is_report: ClassVar[bool] = True

    @property
    def headline(self) -> str:
        """Which file, of which snapshot."""
        return f"{self.path or 'a page'} of {self.timestamp} in {self.storage}"


def report(
    selector: str = "latest",
    storage: Location = "backups",
    output: str | os.PathLike[str] | BinaryIO = "report.html",
    *,
    of_source: Location = "",
    experiments: str | Sequence[str] = (),
    workspaces: str | Sequence[str] = (),
    max_size: int = DEFAULT_SIZE,
    force: bool = False,
    progress: Progress | None = None,
) -> ReportResult:
    """Write a snapshot as one HTML page, to be looked at in a browser without a server or the network.

    Args:
        selector: which snapshot.
        storage: where it is.
        output: a file, which appears as a whole, readable by its owner only; or a stream of bytes.
        of_source: label or tracking URI of the source that is meant, where the storage has several.
        experiments: names of those that the page shall have, or one; none: all.
        workspaces: likewise.
        max_size: bytes of the page: curves are thinned out, then left out, to stay below. Nothing else is.
        force: overwrite a file that is there.
        progress: told how far it is.

    Raises:
        SnapshotNotFoundError: there is no such snapshot.
        DamagedSnapshotError: it can't be trusted.
        UsageError: there is a file of that name, or the snapshot has no such experiment.
    """
    progress = progress or Silent()
    path = None if hasattr(output, "write") else Path(os.fspath(output))
    if path is not None:
        _check(path, force=force)
    snapshot = open_snapshot(storage, selector, of_source=of_source)
    with snapshot.kept_open():
        part = Selected(snapshot, Selection(experiments, workspaces=workspaces))
        data = _page_data(snapshot, part, progress)
        progress.phase("drawing curves")
        content, curves = _fitting(part, data, max_size)
    if path is None:
        output.write(content)  # type: ignore[union-attr]
    else:
        _write(path, content, force=force)
    return ReportResult(
        timestamp=snapshot.timestamp,
        storage=snapshot.storage.location,
        path="" if path is None else str(path),
        size=len(content),
        experiments=len(data.experiments),
        runs=sum(len(one.runs.id) for one in data.experiments),
        models=len(data.models),
        curves=len(curves.curves),
        curves_left_out=curves.left_out,
        before=data.changes.before if data.changes else "",
        warnings=(*snapshot.notes, *data.left_out),
    )


def _fitting(part: ByKind, data: PageData, max_size: int) -> tuple[bytes, CurveData]:
    """The page, with as many points of curves as it has room for."""
    ranks = Ranks(data.experiments)
    bare = len(html.page(part.timestamp, data, CurveData(curves=[], left_out=0)))
    room = max_size - bare
    budget = max(_FEWEST_POINTS, int(room / BYTES_A_POINT))
    for _ in range(_TRIES):
        curves = curves_of(part, ranks, budget)
        content = html.page(part.timestamp, data, curves)
        if len(content) <= max_size or budget == _FEWEST_POINTS:
            break
        budget = max(_FEWEST_POINTS, int(budget * max(room, 0) / (len(content) - bare) * 0.95))
    return content, curves


def _page_data(snapshot: Snapshot, part: Selected, progress: Progress) -> PageData:
    progress.phase("reading runs")
    runs, totals = newest_runs(counted(part.runs(), progress, "runs"))
    digits = digits_for(runs)
    experiments = experiment_pages(part, runs, totals, digits)
    models = model_pages(part.models())
    progress.phase("comparing with the snapshot before")
    infos = _of_same_source(snapshot)
    own = next((info for info in infos if info.timestamp == snapshot.timestamp), None)
    changes, notes = _difference(snapshot, infos, part.selection)
    return PageData(
        written=int(time.time() * 1000),
        by=__version__,
        about=_about(snapshot, own),
        restore=_commands(snapshot),
        experiments=experiments,
        models=models,
        changes=changes,
        backups=[_backup(info) for info in infos[:_MOST_BACKUPS]],
        digits=digits,
        left_out=[*_left_out(part, sum(totals.values()), len(infos)), *notes],
    )


def _left_out(part: Selected, runs: int, snapshots: int) -> Iterator[str]:
    """What the page lacks of what was asked for."""
    if runs > MOST_RUNS:
        yield f"the page has the newest {MOST_RUNS:,} of {runs:,} runs: choose experiments to see others"
    if part.selection.experiments:
        yield f"the page is limited to {', '.join(part.selection.experiments)}"
    if part.selection.workspaces:
        yield f"the page is limited to workspace {', '.join(part.selection.workspaces)}"
    if snapshots > _MOST_BACKUPS:
        yield f"the page has the newest {_MOST_BACKUPS:,} of {snapshots:,} snapshots"


def _about(snapshot: Snapshot, info: SnapshotInfo | None) -> About:
    summary = snapshot.summary
    gaps = summary.gaps
    return About(
        timestamp=snapshot.timestamp,
        taken=_milliseconds(snapshot.timestamp),
        storage=snapshot.storage.location,
        source=summary.mlflow_uri,
        source_kind=summary.source_kind,
        label=summary.label,
        tags=summary.tags,
        state=info.state.value if info else SnapshotState.COMPLETE.value,
        problem=info.problem if info else "",
        gaps=[*gaps, *snapshot.unknown],
        accepted=[one for one in summary.skipped if one not in gaps],
        limits=list(_limits(summary)),
        notes=[*snapshot.notes, *summary.warnings],
        stats=summary.stats,
        counts=[(summary.stats[unit], unit.replace("_", " ")) for unit in _units() if summary.stats.get(unit)],
        size=sum(entry.bytes for entry in summary.files.values()),
        point_in_time=summary.point_in_time,
        mlflow_version=summary.mlflow_server_version or "",
        mlmeta_version=summary.mlmeta_version,
    )


def _units() -> list[str]:
    """What a summary counts, in the order of kinds."""
    return list(dict.fromkeys(unit for kind in KINDS.values() for unit, _ in kind.counts))


def _limits(summary: Summary) -> Iterator[str]:
    if summary.experiments:
        yield f"limited to {amount(len(summary.experiments), 'experiments')}: {', '.join(summary.experiments)}"
    if summary.workspaces:
        yield f"limited to {amount(len(summary.workspaces), 'workspaces')}: {', '.join(summary.workspaces)}"
    if summary.without:
        yield f"saved without {', '.join(summary.without)}"


def _commands(snapshot: Snapshot) -> list[Command]:
    """What brings it back: into where it came from, and into a new file."""
    summary, base = snapshot.summary, ["mlmeta", "restore", snapshot.timestamp]
    where = ["--storage", _absolute(snapshot.storage.location)]
    found = []
    if summary.source_kind in DATABASES:
        found.append(("Into the database it came from, under the same ids", summary.mlflow_uri))
    found.append(("Into a new SQLite database, under the same ids", "sqlite:///mlflow.db"))
    if summary.source_kind == "server":
        found.append(("Into the running server it came from, under new ids", summary.mlflow_uri))
    commands = [Command(what=what, command=shlex.join([*base, *where, "--tracking-uri", uri])) for what, uri in found]
    browse = shlex.join(["mlmeta", "browse", snapshot.timestamp, *where])
    return [*commands, Command(what="Look at it in MLflow's own UI, without restoring it", command=browse)]


def _absolute(location: str) -> str:
    return location if "://" in location else str(Path(location).resolve())


def _of_same_source(snapshot: Snapshot) -> list[SnapshotInfo]:
    """All snapshots of its source in its storage, the newest first."""
    now = time.time()
    infos = [glance(snapshot.storage, one, now) for one in file_sets(snapshot.storage)]
    identity = snapshot.summary.identity
    return [info for info in infos if info.identity == identity or not info.identity]


def _difference(
    snapshot: Snapshot, infos: Sequence[SnapshotInfo], selection: Selection
) -> tuple[Difference | None, tuple[str, ...]]:
    """What changed since the sound snapshot before, and what to know of that."""
    series = next((info.series for info in infos if info.timestamp == snapshot.timestamp), None)
    earlier = (info for info in infos if info.timestamp < snapshot.timestamp and info.series == series)
    before = next((info.timestamp for info in earlier if _counts(info)), None)
    if before is None:
        return None, ()
    try:
        found = diff(
            before,
            snapshot.timestamp,
            snapshot.storage.location,
            experiments=selection.experiments,
            workspaces=selection.workspaces,
            without=("spans",),
        )
    except (SnapshotError, StorageError) as error:
        return None, (f"what changed since {before} is not on the page: {error}",)
    comparison = found.comparison
    shown = comparison.changes[:_MOST_CHANGES]
    return Difference(
        before=before,
        records=comparison.records,
        changes=[one.model_copy(update={"before": None, "after": None}) for one in shown],
        words=[one.words for one in shown],
        total=len(comparison.changes) + comparison.unnamed,
    ), ()


def _counts(info: SnapshotInfo) -> bool:
    return info.state.restorable and info.state is not SnapshotState.FUTURE


def _backup(info: SnapshotInfo) -> Backup:
    return Backup(
        timestamp=info.timestamp,
        taken=_milliseconds(info.timestamp),
        state=info.state.value,
        problem=info.problem,
        size=info.size,
        stats=info.stats,
    )


def _milliseconds(timestamp: str) -> int | None:
    moment = layout.moment_of(timestamp)
    return int(moment.timestamp() * 1000) if moment else None


def _check(path: Path, *, force: bool) -> None:
    """See that a file can be written, before there is work.

    Raises:
        UsageError: it can't.
    """
    if path.is_dir():
        raise UsageError(f"{path} is a folder", hint=f"name a file, such as {path / 'report.html'}")
    if not path.parent.is_dir():
        raise UsageError(f"there is no folder {path.parent}", hint="make it first, or choose another one")
    if not force and os.path.lexists(path):
        raise _taken(path)


def _taken(path: Path) -> UsageError:
    return UsageError(
        f"{path} is there already", hint="choose another name with --output, or overwrite it with --force"
    )


def _write(path: Path, content: bytes, *, force: bool) -> None:
    """Write a file that appears as a whole, or not at all."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("xb") as file:
            os.fchmod(file.fileno(), _MODE)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if force:
            temporary.replace(path)
        else:
            _take_name(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _take_name(temporary: Path, path: Path) -> None:
    """Give a file a name that must be free.

    Raises:
        UsageError: somebody took it meanwhile.
    """
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise _taken(path) from None
    except OSError:  # no hard links here: claim the name first, then put the file over the empty one
        try:
            with path.open("xb"):
                temporary.replace(path)
        except FileExistsError:
            raise _taken(path) from None
