"""Small files that are no part of a snapshot, written and read whole."""

from __future__ import annotations

import contextlib
import hashlib

from mlmeta.storage.base import Digest, Storage


def create(storage: Storage, name: str, content: bytes) -> None:
    """Write a file, unless one of that name exists.

    Raises:
        ObjectExistsError: one does.
        StorageError: it can't be written, or nobody knows whether it was.
    """
    with contextlib.ExitStack() as at_the_end:
        staged = storage.stage()
        at_the_end.callback(staged.discard)
        staged.write(content)
        staged.publish(name, Digest(len(content), hashlib.sha256(content).hexdigest()))


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
