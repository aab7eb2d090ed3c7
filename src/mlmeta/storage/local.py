"""A local folder as storage.

A file is written under a temporary name in the same folder, flushed to the disk (fsync), and gets its
final name by a hard link, which never overwrites; then the folder is flushed too. What a killed process
leaves behind starts with `STAGING_PREFIX` and is invisible to readers.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

from mlmeta.errors import (
    ObjectExistsError,
    ObjectMissingError,
    StorageDeniedError,
    StorageError,
    StorageFullError,
    StorageMissingError,
)
from mlmeta.storage.base import Digest, StoredFile

STAGING_PREFIX = ".mlmeta-"
_BUFFER = 1 << 20
_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_DENIED = {errno.EACCES, errno.EPERM, errno.EROFS}
_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}


class LocalStorage:
    """A folder; it is created when the first file is staged."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def location(self) -> str:
        """The folder, as it was given."""
        return f"{self.folder}{os.sep}"

    def stage(self) -> LocalStagedFile:
        """Begin a new file in the folder."""
        path = self.folder / f"{STAGING_PREFIX}{secrets.token_hex(8)}.tmp"
        with _errors_named(self.folder):
            self._make()
            return LocalStagedFile(self.folder, path, path.open("xb", buffering=_BUFFER))

    def _make(self) -> None:
        if self.folder.exists() and not self.folder.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except FileNotFoundError as error:  # such as below /proc
            hint = "check the path given with --storage"
            raise StorageError(f"the folder {self.folder} can't be made", hint=hint) from error

    def files(self) -> Iterator[StoredFile]:
        """The files of the folder and of its sub-folders, one level deep."""
        with _errors_named(self.folder):
            if not self.folder.is_dir():
                raise StorageMissingError(
                    f"there is no folder {self.location}",
                    hint="name the folder with --storage, or make a first snapshot with `mlmeta backup`",
                )
            yield from self._scan(self.folder, "")

    def _scan(self, folder: Path, prefix: str) -> Iterator[StoredFile]:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                with contextlib.suppress(FileNotFoundError):  # removed by someone else meanwhile
                    if entry.is_file():
                        status = entry.stat()
                        yield StoredFile(prefix + entry.name, status.st_size, status.st_mtime)
                    elif entry.is_dir() and not prefix:
                        yield from self._scan(Path(entry.path), f"{entry.name}/")

    def stale(self, before: float) -> Iterator[StoredFile]:
        """Temporary files of killed processes."""
        with _errors_named(self.folder), os.scandir(self.folder) as entries:
            for entry in entries:
                if entry.name.startswith(STAGING_PREFIX) and entry.is_file():
                    status = entry.stat()
                    if status.st_mtime < before:
                        yield StoredFile(entry.name, status.st_size, status.st_mtime)

    def open(self, name: str) -> BinaryIO:
        """A file's content."""
        path = self.folder / name
        with _errors_named(path, name=name):
            return path.open("rb", buffering=_BUFFER)

    def confirm(self, name: str, digest: Digest) -> None:
        """Read the file again and compare."""
        with self.open(name) as file, _errors_named(self.folder / name, name=name):
            sha256 = hashlib.sha256()
            size = 0
            while block := file.read(_BUFFER):
                sha256.update(block)
                size += len(block)
        if Digest(size, sha256.hexdigest()) != digest:
            raise StorageError(
                f"{self.folder / name} does not hold what was written into it",
                hint="check the disk; the snapshot was not committed",
            )

    def remove(self, name: str) -> None:
        """Remove a file, and the sub-folder it leaves empty."""
        path = self.folder / name
        with _errors_named(path):
            path.unlink(missing_ok=True)
            with contextlib.suppress(FileNotFoundError):  # the sub-folder went with its last file
                _flush_folder(path.parent)
            if path.parent != self.folder:
                with contextlib.suppress(OSError):  # not empty
                    path.parent.rmdir()


class LocalStagedFile:
    """A file under a temporary name."""

    def __init__(self, folder: Path, path: Path, file: BinaryIO) -> None:
        self._folder = folder
        self._path = path
        self._file = file
        self._copy = path.with_suffix(".copy")
        self._temporary = [path]
        self._claimed: set[Path] = set()

    def write(self, data: bytes) -> None:
        """Append `data`."""
        with _errors_named(self._path.parent):
            self._file.write(data)

    def publish(self, name: str, digest: Digest, about: Mapping[str, str] | None = None) -> None:
        """Flush the file to the disk and link it to its name; a folder keeps nothing `about` a file."""
        del about
        target = self._folder / name
        with _errors_named(target, name=name):
            if not self._file.closed:
                self._file.flush()
                os.fsync(self._file.fileno())
                self._file.close()
            if self._path.stat().st_size != digest.size:
                raise StorageError(f"{target} was not written in full", hint="check the disk")
            self._link(target)
            _flush_folder(self._folder)

    def _link(self, target: Path) -> None:
        """Give the file a second name, which must be new.

        Some file systems (FUSE mounts, exFAT) have no hard links. There the name is claimed by an empty
        file, which is then replaced: create-only too, but a crash in between leaves the empty file.
        """
        try:
            os.link(self._path, target)
        except FileExistsError:
            raise
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            target.open("xb").close()
            self._claimed.add(target)
            self._temporary.append(self._copy)
            shutil.copyfile(self._path, self._copy)
            self._copy.replace(target)

    def withdraw(self, name: str) -> None:
        """Unlink the name, if it leads to this file."""
        target = self._folder / name
        with _errors_named(target, name=name), contextlib.suppress(FileNotFoundError):
            if target in self._claimed or target.samefile(self._path):
                target.unlink()
                self._claimed.discard(target)
                _flush_folder(self._folder)

    def discard(self) -> None:
        """Remove the temporary files."""
        with contextlib.suppress(OSError):  # flushing a full disk fails again on closing
            self._file.close()
        for path in self._temporary:
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _errors_named(path: Path, name: str = "") -> Iterator[None]:
    """Turn the operating system's errors into ours, with the path and what to do."""
    try:
        yield
    except FileExistsError as error:
        hint = "somebody else writes there too: try again"
        raise ObjectExistsError(f"{path} exists already", name=name, hint=hint) from error
    except FileNotFoundError as error:
        hint = "somebody removed it: `mlmeta list` shows what is whole"
        raise ObjectMissingError(f"{path} is missing", name=name, hint=hint) from error
    except OSError as error:
        raise _named(error, path) from error


def _named(error: OSError, path: Path) -> StorageError:
    what = f"{path}: {error.strerror or error}"
    if error.errno in _NO_SPACE:
        return StorageFullError(f"no space left: {what}", hint="free some space there, or use another --storage")
    if error.errno in _DENIED:
        return StorageDeniedError(
            f"not writable or readable: {what}", hint="check the permissions, or use another --storage"
        )
    return StorageError(f"the storage failed: {what}", hint="check the path given with --storage")
