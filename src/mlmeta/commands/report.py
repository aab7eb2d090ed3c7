"""`mlmeta report`: a snapshot as one HTML page. No server is needed, neither to make it nor to look at it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, ClassVar

from mlmeta import __version__
from mlmeta.commands.diff import diff
from mlmeta.commands.result import Result
from mlmeta.errors import SnapshotError, StorageError, UsageError
from mlmeta.page import html
from mlmeta.page.about import about, backup, of_same_source, restore_commands
from mlmeta.page.html import check_file, write_file
from mlmeta.page.metrics import BYTES_A_POINT, Ranks, curves_of
from mlmeta.page.model import CurveData, Difference, PageData
from mlmeta.page.runs import digits_for, experiment_pages, model_pages, newest_runs
from mlmeta.progress import Progress, Silent, counted
from mlmeta.schema import Selection
from mlmeta.snapshot.by_kind import ByKind
from mlmeta.snapshot.catalog import SnapshotInfo, SnapshotState
from mlmeta.snapshot.reader import Snapshot
from mlmeta.snapshot.selected import Selected
from mlmeta.storage import Location
from mlmeta.stores.opening import open_snapshot

DEFAULT_SIZE = 1_000_000
"""Bytes that a page shall have at most."""
_FEWEST_POINTS = 2_000
"""Points of curves that a page has, however big it is without them."""
_MOST_CHANGES = 300
_MOST_BACKUPS = 500
_TRIES = 3


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
        check_file(path, force=force)
    snapshot = open_snapshot(storage, selector, of_source=of_source)
    with snapshot.kept_open():
        part = Selected(snapshot, Selection(experiments, workspaces=workspaces))
        data, losses = _page_data(snapshot, part, progress)
        progress.phase("drawing curves")
        content, curves = _fitting(part, data, max_size)
    if path is None:
        output.write(content)  # type: ignore[union-attr]
    else:
        write_file(path, content, force=force)
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
        warnings=(*snapshot.notes, *losses),
    )


def _fitting(part: ByKind, data: PageData, max_size: int) -> tuple[bytes, CurveData]:
    """The page, with as many points of curves as it has room for."""
    ranks, packed = Ranks(data.experiments), html.packed(data)
    bare = len(html.page(part.timestamp, packed, ""))
    room = max_size - bare
    budget = max(_FEWEST_POINTS, int(room / BYTES_A_POINT))
    for _ in range(_TRIES):
        curves = curves_of(part, ranks, budget)
        content = html.page(part.timestamp, packed, html.packed(curves))
        if len(content) <= max_size or budget == _FEWEST_POINTS:
            break
        budget = max(_FEWEST_POINTS, int(budget * max(room, 0) / (len(content) - bare) * 0.95))
    return content, curves


def _page_data(snapshot: Snapshot, part: Selected, progress: Progress) -> tuple[PageData, tuple[str, ...]]:
    """All but the curves; and what it lacks."""
    progress.phase("reading runs")
    runs, totals = newest_runs(counted(part.runs(), progress, "runs"))
    digits = digits_for(runs)
    experiments = experiment_pages(part, runs, totals, digits)
    models = model_pages(part.models())
    progress.phase("comparing with the snapshot before")
    infos = of_same_source(snapshot)
    own = next((info for info in infos if info.timestamp == snapshot.timestamp), None)
    changes, notes = _difference(snapshot, infos, part.selection)
    losses = (*_losses(sum(map(len, runs.values())), sum(totals.values()), len(infos)), *notes)
    data = PageData(
        written=int(time.time() * 1000),
        by=__version__,
        about=about(snapshot, own),
        restore=restore_commands(snapshot),
        experiments=experiments,
        models=models,
        changes=changes,
        backups=[backup(info) for info in infos[:_MOST_BACKUPS]],
        digits=digits,
        left_out=[*losses, *_limits(part.selection, digits)],
    )
    return data, losses


def _losses(shown: int, runs: int, snapshots: int) -> Iterator[str]:
    """What the page lacks, as there is too much of it."""
    if shown < runs:
        yield f"the page has the newest {shown:,} of {runs:,} runs: choose experiments to see others"
    if snapshots > _MOST_BACKUPS:
        yield f"the page has the newest {_MOST_BACKUPS:,} of {snapshots:,} snapshots"


def _limits(selection: Selection, digits: int) -> Iterator[str]:
    """What else to know of what is on the page."""
    if selection.experiments:
        yield f"the page is limited to {', '.join(selection.experiments)}"
    if selection.workspaces:
        yield f"the page is limited to workspace {', '.join(selection.workspaces)}"
    if digits:
        yield f"values of metrics are rounded to {digits} digits, as they are many"


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
    except (SnapshotError, StorageError, UsageError) as error:
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
