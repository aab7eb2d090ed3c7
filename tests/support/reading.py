"""Stores and snapshots as plain values, to compare."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mlmeta import open_snapshot
from mlmeta.progress import Silent
from mlmeta.schema import KINDS, Record, Selection
from mlmeta.stores.opening import Store, open_source


def data_files(folder: Path, timestamp: str = "") -> dict[str, bytes]:
    """The data files of a snapshot by kind; without a timestamp, of the newest one."""
    timestamp = timestamp or open_snapshot(str(folder)).timestamp
    return {
        path.name.split(f"_{timestamp}")[0]: path.read_bytes()
        for path in folder.glob(f"*_{timestamp}.json*")
        if not path.name.startswith("backup_summary")
    }


def summary(folder: Path, timestamp: str = "") -> dict[str, Any]:
    """A summary file's content."""
    timestamp = timestamp or open_snapshot(str(folder)).timestamp
    found: dict[str, Any] = json.loads((folder / f"backup_summary_{timestamp}.json").read_bytes())
    return found


def records(folder: Path | str, selector: str = "latest") -> list[Record]:
    """All records of a snapshot."""
    snapshot = open_snapshot(str(folder), selector)
    return [record for kind in KINDS.values() for record in snapshot.records(kind)]


def stored(uri: str) -> list[Any]:
    """All that a store has, as the source gives it."""
    with open_source(Store(uri)) as source:
        return list(source.read(Selection(), Silent()))


def raw(folder: Path, kind: str) -> list[dict[str, Any]]:
    """A data file, read as any JSON reader would."""
    found: list[dict[str, Any]] = json.loads(data_files(folder)[kind])
    return found
