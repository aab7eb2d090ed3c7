"""Places for snapshots: a local folder, a GCS bucket."""

from __future__ import annotations

from pathlib import Path

from mlmeta.errors import UsageError
from mlmeta.redaction import without_secrets
from mlmeta.storage.base import Digest, StagedFile, Storage, StoredFile
from mlmeta.storage.local import LocalStorage

__all__ = ["Digest", "LocalStorage", "StagedFile", "Storage", "StoredFile", "is_local", "open_storage"]


def is_local(location: str) -> bool:
    """Whether `location` names a folder."""
    return location.startswith("file://") or "://" not in location


def _folder(path: str) -> Path:
    try:
        return Path(path).expanduser()
    except RuntimeError as error:  # nobody of that name, or no HOME
        raise UsageError(f"{path}: {error}", hint="name the folder without ~") from error


def open_storage(location: str) -> Storage:
    """The storage that `location` names. Nothing is touched yet.

    Args:
        location: a folder, or ``gs://bucket/prefix``.

    Raises:
        UsageError: `location` is neither.
    """
    if not location:
        raise UsageError("--storage is empty", hint="name a folder, or gs://bucket/prefix")
    if is_local(location):
        return LocalStorage(_folder(location.removeprefix("file://")))
    if location.startswith("gs://"):
        from mlmeta.storage.gcs import GcsStorage

        return GcsStorage(location)
    raise UsageError(
        f"{without_secrets(location)} is not a storage that mlmeta knows", hint="name a folder, or gs://bucket/prefix"
    )
