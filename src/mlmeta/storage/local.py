"""A local folder as storage.

A file is written under a temporary name in the same folder, flushed to the disk (fsync), and gets its
final name by a hard link, which never overwrites; then the folder is flushed too, and those that were made above
it. What a killed process leaves behind starts with `STAGING_PREFIX` and is invisible to readers.

Others may be able to write there. Only regular files are read, and only below the folder: no link is followed.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import itertools
import os
import secrets
import shutil
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

from mlmeta.errors import (
    ObjectExistsError,
    ObjectMissingError,
    ObjectRefusedError,
    StorageDeniedError,
    StorageError,
    StorageFullError,
    StorageMissingError,
)
from mlmeta.storage.base import NO_SPACE, Digest, StoredFile

STAGING_PREFIX = ".mlmeta-"
_BUFFER = 1 << 20
_DENIED = {errno.EACCES, errno.EPERM, errno.EROFS}
_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW
_FOLDER = _READ | os.O_DIRECTORY
_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}


_NO_FLUSH = {errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}
"""How file systems say that they have no flushing of folders."""
_KINDS = {
    stat.S_IFLNK: "a link, which is not followed",
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
_OF_FILES = (".json", ".gz")
"""A folder of such a name is not one of an older snapshot, but stands where a file should."""


class LocalStorage:
    """A folder; it is created when the first file is staged."""

    umask = 0o077
    """Who may not read what is made here: a snapshot holds what people wrote into tags. Set it for other modes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def location(self) -> str:
        """The folder, as it was given."""
        return f"{self.folder}{os.sep}"

    def stage(self, *, private: bool = False) -> LocalStagedFile:
        """Begin a new file in the folder; a private one whatever the `umask` is."""
        path = self.folder / f"{STAGING_PREFIX}{secrets.token_hex(8)}.tmp"
        with _errors_named(self.folder):
            self._make()
            return LocalStagedFile(self.folder, path, _create(path, private=private), private=private)

    def _make(self) -> None:
        if self.folder.exists() and not self.folder.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        try:
            _make_folders(self.folder)
        except FileNotFoundError as error:  # such as below /proc
            hint = "check the path given with --storage"
            raise StorageError(f"the folder {self.folder} can't be created", hint=hint) from error

    def files(self) -> Iterator[StoredFile]:
        """The files of the folder and of its sub-folders, one level deep, and what can't be read, with its problem."""
        with _errors_named(self.folder):
            if not self.folder.is_dir():
                if self.folder.exists():
                    raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
                raise StorageMissingError(
                    f"there is no folder {self.location}",
                    hint="name the folder with --storage, or create a first snapshot with `mlmeta backup`",
                )
            yield from self._scan(self.folder, "")

    def _scan(self, folder: Path, prefix: str) -> Iterator[StoredFile]:
        with os.scandir(folder) as entries:
            for entry in entries:
                if not entry.name.startswith("."):
                    with contextlib.suppress(FileNotFoundError):  # removed by someone else meanwhile
                        yield from self._entry(entry, prefix)

    def _entry(self, entry: os.DirEntry[str], prefix: str) -> Iterator[StoredFile]:
        name = prefix + entry.name
        status = entry.stat(follow_symlinks=False)
        changed = max(status.st_mtime, status.st_ctime)  # a copy keeps the one, and not the other
        kind = stat.S_IFMT(status.st_mode)
        if kind == stat.S_IFREG:
            yield StoredFile(name, status.st_size, changed)
        elif kind != stat.S_IFDIR or entry.name.endswith(_OF_FILES):
            yield StoredFile(name, 0, changed, problem=f"it is {_KINDS[kind]}")
        elif not prefix:
            try:
                yield from self._scan(Path(entry.path), f"{name}/")
            except FileNotFoundError:
                raise
            except OSError as error:
                yield StoredFile(name, 0, changed, problem=f"it can't be read: {error.strerror}")

    def stale(self, before: float) -> Iterator[StoredFile]:
        """Temporary files of killed processes."""
        with _errors_named(self.folder), os.scandir(self.folder) as entries:
            for entry in entries:
                if entry.name.startswith(STAGING_PREFIX) and entry.is_file(follow_symlinks=False):
                    status = entry.stat(follow_symlinks=False)
                    if status.st_mtime < before:
                        yield StoredFile(entry.name, status.st_size, status.st_mtime)

    def open(self, name: str, most: int | None = None) -> BinaryIO:
        """A file's content. What is not a regular file is not opened for reading: a pipe would wait for its writer."""
        path = self.folder / name
        with _errors_named(path, name=name), self._parent(name) as (below, parent):
            kind = stat.S_IFMT(os.stat(below, dir_fd=parent, follow_symlinks=False).st_mode)
            if kind != stat.S_IFREG:
                raise _refused(path, f"it is {_KINDS[kind]}")
            descriptor = os.open(below, _READ | os.O_NONBLOCK, dir_fd=parent)  # as it may have become one since
            try:
                _must_be_a_file(path, os.fstat(descriptor), most)
                return os.fdopen(descriptor, "rb", buffering=_BUFFER)
            except BaseException:
                os.close(descriptor)
                raise

    @contextlib.contextmanager
    def _parent(self, name: str) -> Iterator[tuple[str, int | None]]:
        """How to reach a file without following a link: its path, and the descriptor of the folder that it is below."""
        folder, slash, below = name.rpartition("/")
        if {"", ".", ".."} & {below, folder if slash else below} or "/" in folder or "\0" in name:
            raise _refused(self.folder / name.replace("\0", ""), "it is not a name in the storage")
        if not slash:
            yield str(self.folder / name), None
            return
        descriptor = os.open(self.folder / folder, _FOLDER)
        try:
            yield below, descriptor
        finally:
            os.close(descriptor)

    def confirm(self, name: str, digest: Digest) -> None:
        """Read the file again and compare."""
        with self.open(name) as file, _errors_named(self.folder / name, name=name):
            sha256 = hashlib.sha256()
            size = 0
            while size <= digest.size and (block := file.read(_BUFFER)):
                sha256.update(block)
                size += len(block)
        if Digest(size, sha256.hexdigest()) != digest:
            raise StorageError(
                f"{self.folder / name} does not hold what was written into it",
                hint="check the disk; the snapshot was not committed",
            )

    def remove(self, name: str) -> bool:
        """Remove a file, and the sub-folder it leaves empty."""
        path, is_mine = self.folder / name, False
        with (
            _errors_named(path, name=name),
            contextlib.suppress(FileNotFoundError),  # the sub-folder went with its last file
            self._parent(name) as (below, parent),
        ):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(below, dir_fd=parent)  # pathlib has no `dir_fd`
                is_mine = True
            if parent is None:
                _flush_folder(self.folder)
                return is_mine
            os.fsync(parent)
            with contextlib.suppress(OSError):  # not empty
                path.parent.rmdir()
        return is_mine


class LocalStagedFile:
    """A file under a temporary name."""

    def __init__(self, folder: Path, path: Path, file: BinaryIO, *, private: bool = False) -> None:
        self._private = private
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
                _flush(self._file)
                self._file.close()
            if self._path.stat().st_size != digest.size:
                raise StorageError(f"{target} was not written in full", hint="check the disk, and try again")
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
            _create(target).close()
            self._claimed.add(target)
            self._temporary.append(self._copy)
            with self._path.open("rb") as source, _create(self._copy, private=self._private) as copy:
                shutil.copyfileobj(source, copy, _BUFFER)
                _flush(copy)
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


def _create(path: Path, *, private: bool = False) -> BinaryIO:
    """A new file, which others may not read unless `LocalStorage.umask` lets them; a private one in no case."""
    mode = 0o600 if private else 0o666 & ~LocalStorage.umask
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    return os.fdopen(os.open(path, flags, mode), "wb", buffering=_BUFFER)


def _make_folders(folder: Path) -> None:
    """Make a folder and those above it, safely on disk; modes of those that exist stay."""
    missing = [*itertools.takewhile(lambda path: not path.exists(), (folder, *folder.parents))]
    for path in reversed(missing):
        path.mkdir(exist_ok=True, mode=0o777 & ~LocalStorage.umask)
        with contextlib.suppress(PermissionError):  # one that may be written, and not be read
            _flush_folder(path.parent)


def _must_be_a_file(path: Path, status: os.stat_result, most: int | None) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise _refused(path, f"it is {_KINDS[stat.S_IFMT(status.st_mode)]}")
    if most is not None and status.st_size > most:
        raise _refused(path, f"it has {status.st_size:,} bytes, more than {most:,}")


def _refused(path: Path, why: str) -> ObjectRefusedError:
    return ObjectRefusedError(
        f"{path} is not read: {why}", hint="mlmeta only reads regular files of limited size: find out who put it there"
    )


def _flush(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_FLUSH:
            raise
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
        hint = "somebody removed it: `mlmeta list` shows which snapshots are complete"
        raise ObjectMissingError(f"{path} is missing", name=name, hint=hint) from error
    except OSError as error:
        if name and error.errno in {errno.ELOOP, errno.ENOTDIR}:
            raise _refused(path, "part of the path is a link, or not a folder") from error
        raise _named(error, path) from error


def _named(error: OSError, path: Path) -> StorageError:
    what = f"{path}: {error.strerror or error}"
    if error.errno in NO_SPACE:
        return StorageFullError(f"no space left: {what}", hint="free some space there, or use another --storage")
    if error.errno in _DENIED:
        return StorageDeniedError(
            f"not writable or readable: {what}", hint="check the permissions, or use another --storage"
        )
    return StorageError(f"the storage failed: {what}", hint="check the path given with --storage, and the disk")
