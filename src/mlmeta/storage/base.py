"""What a storage is: a flat place for files with names. It knows names and bytes, not MLflow."""

from __future__ import annotations

import contextlib
import errno
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import BinaryIO, Protocol

NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""Errors of the operating system that say so."""


@dataclass(frozen=True)
class StoredFile:
    """A file in a storage.

    Args:
        name: relative to the storage; older snapshots have one folder level (``TS/runs_TS.json``).
        size: bytes.
        modified: when it last changed or came here, seconds since the epoch. A file that was copied with its old
            date counts from the copying.
        about: what was said of it when it was published, where the storage keeps that. Anybody who may write there
            may have said it: it is to be shown, and decides nothing.
        created: when it came here by the clock of a storage that nobody can tell what to say; None: it has none such.
        problem: why it can't be read: it is a link, a pipe, a folder that is closed to us. Empty for a file.
    """

    name: str
    size: int
    modified: float
    about: Mapping[str, str] = field(default_factory=dict, compare=False)
    created: float | None = None
    problem: str = ""


@dataclass(frozen=True)
class Digest:
    """What was written: size in bytes, SHA-256 in hex."""

    size: int
    sha256: str


class StagedFile(Protocol):
    """A file that is being written and that nobody sees yet."""

    def write(self, data: bytes) -> None:
        """Append `data`.

        Raises:
            StorageError: it can't be written (`StorageFullError`: no space left).
        """

    def publish(self, name: str, digest: Digest, about: Mapping[str, str] | None = None) -> None:
        """Make the file visible as `name`, durably, unless a file of that name exists.

        It may be published again under another name, until it is discarded.

        Args:
            name: the file's name in the storage.
            digest: of all that was written; what arrived is checked against it.
            about: short texts that a listing may give back (`StoredFile.about`), at most 8 KiB; a storage may forget
                them.

        Raises:
            ObjectExistsError: there is another file of that name; this one is still staged.
            StorageError: it can't be written.
        """

    def withdraw(self, name: str) -> None:
        """Take back what was published as `name`; another's file of that name, or none, is left as it is.

        To be called before `discard`, also where `publish` failed and nobody knows how far it came.

        Raises:
            StorageError: it can't be taken back.
        """

    def discard(self) -> None:
        """Forget the staged file; what was published stays. To be called in every case."""


class Storage(Protocol):
    """A place for snapshots.

    All methods raise `StorageError` (or a subclass) when the storage can't be used.
    """

    @property
    def location(self) -> str:
        """Where it is, as a person would name it: a folder, or ``gs://bucket/prefix``."""

    def stage(self, *, private: bool = False) -> StagedFile:
        """Begin a new file; the storage itself is created if it is missing and can be.

        Args:
            private: whether nobody but the owner may ever read it, where the storage knows owners.
        """

    def files(self) -> Iterator[StoredFile]:
        """All files, in no particular order; staged ones don't show. What can't be read comes with its `problem`.

        Raises:
            StorageMissingError: there is no such storage.
        """

    def open(self, name: str, most: int | None = None) -> BinaryIO:
        """A file's content, to read from the start.

        Args:
            name: of the file. No link is followed, and nothing outside of the storage is reached.
            most: bytes that it may have; None: any number.

        Raises:
            ObjectMissingError: there is no such file.
            ObjectRefusedError: it is not a file, or has more bytes.
        """

    def confirm(self, name: str, digest: Digest) -> None:
        """Look up again whether the published file is what was written.

        Raises:
            ObjectMissingError: there is no such file.
            StorageError: it is something else.
        """

    def stale(self, before: float) -> Iterator[StoredFile]:
        """Staged files of killed processes that were last written before a time (seconds since the epoch)."""

    def remove(self, name: str) -> bool:
        """Remove a file; one that is gone already counts as removed.

        Returns:
            Whether it was this call that removed it: of several at once, one at most is told so.
        """


def create(storage: Storage, name: str, content: bytes, about: Mapping[str, str] | None = None) -> None:
    """Write a file, unless one of that name exists.

    Args:
        storage: where.
        name: of the file.
        content: of the file.
        about: it, for listings to tell, where the storage has such.

    Raises:
        ObjectExistsError: one does.
        StorageError: it can't be written, or nobody knows whether it was.
    """
    with contextlib.ExitStack() as at_the_end:
        staged = storage.stage()
        at_the_end.callback(staged.discard)
        staged.write(content)
        staged.publish(name, Digest(len(content), hashlib.sha256(content).hexdigest()), about)


def read(storage: Storage, name: str, most: int) -> bytes:
    """What a file holds.

    Args:
        storage: where it is.
        name: of the file.
        most: bytes that it may have.

    Raises:
        ObjectMissingError: there is no such file.
        ObjectRefusedError: it is not a file, or has more bytes.
        StorageError: it can't be read.
    """
    with storage.open(name, most) as file:
        return file.read(most)
