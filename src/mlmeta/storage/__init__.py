"""Places for snapshots: a local folder, a GCS bucket."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

from mlmeta.errors import UsageError
from mlmeta.redaction import without_secrets
from mlmeta.storage.base import Digest, StagedFile, Storage, StoredFile
from mlmeta.storage.local import LocalStorage

__all__ = [
    "Digest",
    "LocalStorage",
    "Location",
    "Locations",
    "StagedFile",
    "Storage",
    "StoredFile",
    "distinct",
    "is_local",
    "open_storage",
]

Location = str | os.PathLike[str]
"""A folder, or ``gs://bucket/prefix``."""
Locations = Location | Iterable[Location]
"""One of them, or several."""
_CUT = re.compile(r"(?!file:)[a-z][a-z0-9]+:/(?!/)")
"""The beginning of a URL that went through `pathlib`, which drops one of two slashes."""


def is_local(location: str) -> bool:
    """Whether `location` names a folder."""
    return location.startswith("file://") or "://" not in location


def _folder(path: str) -> Path:
    try:
        return Path(path).expanduser()
    except RuntimeError as error:  # nobody of that name, or no HOME
        raise UsageError(f"{path}: {error}", hint="name the folder without ~") from error


def open_storage(location: Location) -> Storage:
    """The storage that `location` names. Nothing is touched yet.

    Args:
        location: a folder, or ``gs://bucket/prefix``.

    Raises:
        UsageError: `location` is neither.
    """
    location = os.fspath(location)
    if not location:
        raise UsageError("--storage is empty", hint="name a folder, or gs://bucket/prefix")
    if _CUT.match(location):
        meant = without_secrets(location.replace(":/", "://", 1))
        raise UsageError(
            f"{without_secrets(location)} lacks a slash", hint=f"write {meant} as a string: a Path drops one of the two"
        )
    if is_local(location):
        return LocalStorage(_folder(location.removeprefix("file://")))
    if location.startswith("gs://"):
        from mlmeta.storage.gcs import GcsStorage

        return GcsStorage(location)
    raise UsageError(
        f"{without_secrets(location)} is not a storage that mlmeta knows", hint="name a folder, or gs://bucket/prefix"
    )


def distinct(places: Iterable[Storage]) -> list[Storage]:
    """Each storage once, the first of each: two spellings of a folder are one.

    Raises:
        UsageError: there is none.
    """
    found: dict[str, Storage] = {}
    for place in places:
        found.setdefault(_address(place), place)
    if not found:
        raise UsageError("no storage is given", hint="name a folder, or gs://bucket/prefix")
    return list(found.values())


def _address(place: Storage) -> str:
    """What all spellings of a storage have in common."""
    if not is_local(place.location):
        return place.location
    folder = Path(place.location)
    try:
        status = folder.stat()
    except OSError:  # not there yet, or not to be looked at
        return str(folder.resolve())
    except ValueError:  # no path at all, as whoever uses it will say
        return place.location
    return f"{status.st_dev}:{status.st_ino}"
