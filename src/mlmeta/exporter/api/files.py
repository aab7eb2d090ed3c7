"""Runs of a file store that MLflow passes over: it logs a malformed folder, and goes on as if there were none."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from mlmeta.schema import Skipped
from mlmeta.tracking.address import folder_of

_REASON = "MLflow can't read its folder; its meta.yaml is missing or malformed"
_OWN = {"models", "traces", ".trash", "datasets", "tags"}
"""Folders of a file store that are neither experiments nor runs (MLflow 3.17, `store/tracking/file_store.py`)."""


def passed_over(uri: str, seen: dict[str, set[str]]) -> Iterator[Skipped]:
    """Folders that look like experiments or runs, and that a read did not bring.

    Args:
        uri: of the file store.
        seen: the runs that were read, by experiment id.
    """
    root = folder_of(uri)
    for folder in (*_folders(root), *_folders(root / ".trash")):
        if folder.name not in seen:
            yield Skipped(kind="experiment", id=folder.name, reason=_REASON)
            continue
        for run in _folders(folder):
            if run.name not in seen[folder.name]:
                yield Skipped(kind="run", id=run.name, reason=_REASON)


def _folders(parent: Path) -> list[Path]:
    if not parent.is_dir():
        return []
    return sorted(path for path in parent.iterdir() if path.is_dir() and path.name not in _OWN)
