"""Whether a storage can be used as mlmeta uses it: found out by doing it, with a small file that goes again.

The file's name is none of a snapshot's, so nothing else takes it for one. What a killed probe left behind, the next one
removes. Where nothing may be removed, one probe a day is left, and the others that day make do with it.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from mlmeta.errors import ObjectExistsError, StorageDeniedError, StorageError
from mlmeta.storage import base
from mlmeta.storage.base import Storage, StoredFile

_NAME = re.compile(r"mlmeta-doctor-[0-9a-f]{16}\.json")
_BUSY = 600
"""Seconds for which another probe may be under way."""
_LASTS = 24 * 3600
"""Seconds for which one that can't be removed does instead of a new one."""
_AT_ONCE = 100
"""So many old probes are removed by one."""
_MOST = 1 << 10
"""Bytes of a probe that are read."""


class Use(str, Enum):
    """A way to use a storage."""

    LIST = "list"
    WRITE = "write"
    CREATE_ONLY = "create-only"
    READ = "read"
    DELETE = "delete"


@dataclass(frozen=True)
class Finding:
    """What came of a way to use a storage.

    Args:
        use: which.
        error: why it does not work; None: it does.
        probe: the name of the file that stays, where it can't be removed; or that did, instead of a new one.
    """

    use: Use
    error: StorageError | None = None
    probe: str = ""


def examine(storage: Storage, now: float, *, writing: bool = True) -> list[Finding]:
    """Use a storage in every way, up to the first one that rules out the others.

    Args:
        storage: any. It is not created where it does not exist.
        now: seconds since the epoch.
        writing: whether a file may be written; if not, only the list is looked at.
    """
    try:
        probes = [file for file in storage.files() if _NAME.fullmatch(file.name) and not file.problem]
    except StorageError as error:
        return [Finding(Use.LIST, error)]
    if not writing:
        return [Finding(Use.LIST)]
    stays = _cleaned(storage, probes, now)
    return [Finding(Use.LIST), *(_anew(storage) if stays is None else _by(storage, stays))]


def _cleaned(storage: Storage, probes: Iterable[StoredFile], now: float) -> StoredFile | None:
    """Remove what killed ones left; one of today that can't be removed."""
    oldest_first = sorted(probes, key=lambda file: file.modified)  # a retention policy lets the old ones go
    old = [file for file in oldest_first if file.modified < now - _BUSY]
    try:
        for file in old[:_AT_ONCE]:
            storage.remove(file.name)
    except StorageDeniedError:
        return next((file for file in reversed(oldest_first) if file.modified > now - _LASTS), None)
    except StorageError:
        pass  # what is wrong will show
    return None


def _anew(storage: Storage) -> list[Finding]:
    """By a new file."""
    name = f"mlmeta-doctor-{secrets.token_hex(8)}.json"
    try:
        if error := _error_of_creating(storage, name, _content(name)):
            return [Finding(Use.WRITE, error)]
        found = [Finding(Use.WRITE), _created_once(storage, name), _read(storage, name)]
    finally:
        error = _error_of_removing(storage, name)
    return [*found, Finding(Use.DELETE, error, name if error else "")]


def _by(storage: Storage, stays: StoredFile) -> list[Finding]:
    """By a file of before, which was written by the one that could not remove it."""
    error = _error_of_removing(storage, stays.name)
    found = [Finding(Use.WRITE, probe=stays.name), _created_once(storage, stays.name), _read(storage, stays.name)]
    return [*found, Finding(Use.DELETE, error, stays.name if error else "")]


def _content(name: str) -> bytes:
    return f'{{"about": "written by mlmeta doctor, and of no use to anybody else", "name": "{name}"}}\n'.encode()


def _error_of_creating(storage: Storage, name: str, content: bytes) -> StorageError | None:
    try:
        base.create(storage, name, content)
    except StorageError as error:
        return error
    return None


def _error_of_removing(storage: Storage, name: str) -> StorageError | None:
    try:
        storage.remove(name)
    except StorageError as error:
        return error
    return None


def _created_once(storage: Storage, name: str) -> Finding:
    """Whether a second file of a name is refused: else two backups could damage each other."""
    error = _error_of_creating(storage, name, b"{}\n")
    if isinstance(error, ObjectExistsError):
        return Finding(Use.CREATE_ONLY)
    overwritten = StorageError(
        f"{storage.location} lets a file be overwritten: two backups at once could damage each other's snapshots",
        hint="use a storage that refuses to create what exists, or have only one backup run at a time",
    )
    return Finding(Use.CREATE_ONLY, error or overwritten)


def _read(storage: Storage, name: str) -> Finding:
    try:
        content = base.read(storage, name, _MOST)
    except StorageError as error:
        return Finding(Use.READ, error)
    if content == _content(name):
        return Finding(Use.READ)
    torn = StorageError(f"{storage.location}{name} does not hold what was written into it", hint="check the disk")
    return Finding(Use.READ, torn)
