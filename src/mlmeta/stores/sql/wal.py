"""SQLite's write-ahead log, with which readers and writers are in nobody's way: switched on where that is safe."""

from __future__ import annotations

import contextlib
import os
import re
import sqlite3
from pathlib import Path

from mlmeta.stores.sql.database import parse
from mlmeta.stores.sql.sqlite import connect

_MOUNTS = Path("/proc/self/mountinfo")
_ESCAPED = re.compile(rb"\\([0-7]{3})")
_SHARED = re.compile(r"nfs\d?|fuse.*|cifs|smb\w*|9p|ceph|lustre|afs|gpfs|glusterfs|beegfs|vboxsf|prl_fs")
"""File systems that other machines may have mounted, too: a write-ahead log needs memory that all its users share."""
_PATIENCE = 0.2
"""Seconds to wait for writers: they are not to wait for this."""


def use_wal(uri: str) -> tuple[str, bool]:
    """Switch a SQLite database to a write-ahead log, unless it has one. It stays so.

    Args:
        uri: of the database.

    Returns:
        Why it has none, and whether that stays so; empty: it has one.
    """
    path = parse(uri).path.resolve()
    kind = file_system(path.parent)
    if kind is None:
        return "its file system is unknown", True
    if _SHARED.fullmatch(kind):
        return f"it is on a file system of other machines ({kind})", True
    try:
        with contextlib.closing(connect(path, "rw", patience=_PATIENCE)) as connection:
            (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    except sqlite3.Error as error:
        return str(error), False
    return ("", True) if mode == "wal" else (f"its journal stays {mode}", True)


def file_system(folder: Path) -> str | None:
    """The kind of file system that a folder is on, in Linux's words; None: that is unknown."""
    try:
        lines = _MOUNTS.read_bytes().splitlines()
    except OSError:
        return None
    best: tuple[int, str] | None = None
    for line in lines:
        before, _, after = line.partition(b" - ")
        point = Path(os.fsdecode(_ESCAPED.sub(lambda found: bytes([int(found[1], 8)]), before.split()[4])))
        if folder.is_relative_to(point) and (best is None or len(point.parts) >= best[0]):  # the last one covers others
            best = (len(point.parts), after.split()[0].decode())
    return best[1] if best is not None else None
