"""Data files while they are written: once, into several storages."""

from __future__ import annotations

import contextlib
import hashlib
import zlib
from collections.abc import Callable

from mlmeta.errors import StorageError, TerminatedError
from mlmeta.snapshot import records
from mlmeta.storage import Digest, StagedFile, Storage

_BLOCK = 1 << 18
_GZIP = 31
"""zlib's `wbits` for the gzip format with the largest window."""


class DataFile:
    """The content of one data file, on its way.

    Args:
        write: takes its bytes, block by block.
        compress: whether they are gzip: without a time in the header, so the same content gives the same bytes.
    """

    def __init__(self, write: Callable[[bytes], None], *, compress: bool) -> None:
        self.count = 0
        self._sink = write
        self._size = 0
        self._sha256 = hashlib.sha256()
        self._content = hashlib.sha256() if compress else self._sha256  # plain, the file is the content: hashed once
        self._compressor = zlib.compressobj(wbits=_GZIP) if compress else None
        self._pending = bytearray(records.OPENING)

    @property
    def digest(self) -> Digest:
        """Of all that was written so far."""
        return Digest(self._size, self._sha256.hexdigest())

    @property
    def content_sha256(self) -> str:
        """SHA-256 of the JSON, in hex."""
        return self._content.hexdigest()

    def add(self, *lines: bytes) -> None:
        """Append the lines of records."""
        pending = self._pending
        for line in lines:
            pending += records.SEPARATOR if self.count else records.FIRST
            pending += line
            self.count += 1
            if len(pending) >= _BLOCK:
                self._flush()

    def finish(self) -> None:
        """Close the array."""
        self._pending += records.CLOSING
        self._flush()
        if self._compressor is not None:
            self._write(self._compressor.flush())

    def _flush(self) -> None:
        block = bytes(self._pending)
        self._pending.clear()
        if self._compressor is None:
            self._write(block)
        else:
            self._content.update(block)
            self._write(self._compressor.compress(block))

    def _write(self, block: bytes) -> None:
        self._sha256.update(block)
        self._size += len(block)
        self._sink(block)


class StagedStorage:
    """What a backup has in one storage so far."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self._staged: dict[str, StagedFile] = {}
        self._published: list[tuple[StagedFile, str]] = []

    def stage(self, kind: str, *, private: bool = False) -> None:
        """Begin the file of a kind; a private one nobody but its owner may read."""
        self._staged[kind] = self.storage.stage(private=private)

    def write(self, kind: str, block: bytes) -> None:
        """Append to the file of a kind."""
        self._staged[kind].write(block)

    def publish(self, kind: str, name: str, digest: Digest, about: dict[str, str] | None = None) -> None:
        """Give the file of a kind its name.

        Raises:
            ObjectExistsError: the name is taken.
        """
        staged = self._staged[kind]
        self._published.append((staged, name))  # before it shows: an interrupt must find it
        staged.publish(name, digest, about)

    def withdraw(self) -> None:
        """Take back what was published, the latest first: without the summary the rest is not a snapshot.

        Where one file can't be taken back, what was published before it stays too: a whole snapshot too many
        is better than a damaged one, and data files without a summary are leftovers that `prune` removes later.
        """
        with contextlib.suppress(StorageError):
            while self._published:
                staged, name = self._published[-1]
                staged.withdraw(name)
                self._published.pop()  # only now: an interrupt must find it
        self._published.clear()

    def keep(self) -> None:
        """What was published is a snapshot now, and stays."""
        self._published.clear()

    def discard(self) -> None:
        """Take back what was published and not kept, and forget what is staged."""
        self.withdraw()
        self._forget()

    def _forget(self) -> None:
        """Discard what is staged: all of it, also when a signal comes in between."""
        while self._staged:
            kind, staged = next(iter(self._staged.items()))
            try:
                staged.discard()
            except (KeyboardInterrupt, TerminatedError):
                self._forget()
                raise
            self._staged.pop(kind)
