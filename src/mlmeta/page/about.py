"""The snapshot that the page is about: its state, the commands that bring it back, and its like."""

from __future__ import annotations

import shlex
import time
from pathlib import Path

from mlmeta.page.model import About, Backup, Command
from mlmeta.schema import KINDS, Summary
from mlmeta.schema.words import limits
from mlmeta.snapshot import layout
from mlmeta.snapshot.catalog import SnapshotInfo, SnapshotState, file_sets, glance
from mlmeta.snapshot.reader import Snapshot
from mlmeta.stores.opening import DATABASES


def about(snapshot: Snapshot, info: SnapshotInfo | None) -> About:
    """What is told of a snapshot.

    Args:
        snapshot: it.
        info: what the catalog says of it; None: nothing.
    """
    summary = snapshot.summary
    gaps = summary.gaps
    return About(
        timestamp=snapshot.timestamp,
        taken=milliseconds(snapshot.timestamp),
        storage=snapshot.storage.location,
        source=summary.mlflow_uri,
        source_kind=summary.source_kind,
        label=summary.label,
        tags=summary.tags,
        state=info.state.value if info else SnapshotState.COMPLETE.value,
        problem=info.problem if info else "",
        gaps=[*gaps, *snapshot.unknown],
        accepted=[one for one in summary.skipped if one not in gaps],
        limits=list(limits(summary.experiments, summary.workspaces, summary.without)),
        notes=[*snapshot.notes, *summary.warnings],
        stats=summary.stats,
        counts=[(summary.stats[unit], unit.replace("_", " ")) for unit in _units() if summary.stats.get(unit)],
        size=snapshot.size,
        point_in_time=summary.point_in_time,
        mlflow_version=summary.mlflow_server_version or "",
        mlmeta_version=summary.mlmeta_version,
    )


def _units() -> list[str]:
    """What a summary counts, in the order of kinds."""
    return list(dict.fromkeys(unit for kind in KINDS.values() for unit, _ in kind.counts))


def restore_commands(snapshot: Snapshot) -> list[Command]:
    """What brings it back: into where it came from, and into a new file."""
    summary, base = snapshot.summary, ["mlmeta", "restore", snapshot.timestamp]
    where = ["--storage", _absolute(snapshot.storage.location)]
    found = []
    if summary.source_kind in DATABASES:
        found.append(("Into the database it came from, under the same ids", _origin(summary)))
    found.append(("Into a new SQLite database, under the same ids", "sqlite:///mlflow.db"))
    if summary.source_kind == "server":
        found.append(("Into the running server it came from, under new ids", summary.mlflow_uri))
    commands = [Command(what=what, command=shlex.join([*base, *where, "--tracking-uri", uri])) for what, uri in found]
    browse = shlex.join(["mlmeta", "browse", snapshot.timestamp, *where])
    return [*commands, Command(what="Look at it in MLflow's own UI, without restoring it", command=browse)]


def _origin(summary: Summary) -> str:
    """The address of the store, which for a SQLite file does not depend on the folder that a reader is in."""
    is_plain = summary.source_kind == "sqlite" and not {*"#?%"} & {*summary.source_id}
    return summary.source_id if is_plain and summary.source_id else summary.mlflow_uri


def _absolute(location: str) -> str:
    return location if "://" in location else str(Path(location).resolve())


def of_same_source(snapshot: Snapshot) -> list[SnapshotInfo]:
    """All snapshots of its source in its storage, the newest first."""
    now = time.time()
    infos = [glance(snapshot.storage, one, now) for one in file_sets(snapshot.storage)]
    identity = snapshot.summary.identity
    return [info for info in infos if info.identity == identity or not info.identity]


def backup(info: SnapshotInfo) -> Backup:
    """A snapshot among those of its source."""
    return Backup(
        timestamp=info.timestamp,
        taken=milliseconds(info.timestamp),
        state=info.state.value,
        problem=info.problem,
        size=info.size,
        stats=info.stats,
    )


def milliseconds(timestamp: str) -> int | None:
    """When a snapshot was taken; None: its timestamp is not a date."""
    moment = layout.moment_of(timestamp)
    return int(moment.timestamp() * 1000) if moment else None
