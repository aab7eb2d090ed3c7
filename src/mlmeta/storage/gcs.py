"""A Google Cloud Storage bucket as storage. Imported only when one is opened: the client takes its time to load.

Creating an object is atomic, and listing and reading are strongly consistent
(https://cloud.google.com/storage/docs/consistency). A create carries the precondition "generation 0", so it never
overwrites. If its reply is lost, the client's retry meets the object we made ourselves: a token in the object's
custom metadata tells that from somebody else's.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import secrets
import tempfile
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import IO, Any, BinaryIO, cast

import google_crc32c
from google.api_core.exceptions import Forbidden, NotFound, PreconditionFailed
from google.cloud import storage
from google.cloud.storage.retry import DEFAULT_RETRY

from mlmeta.errors import ObjectMissingError, ObjectRefusedError, StorageError, UsageError
from mlmeta.storage.base import Digest, StoredFile
from mlmeta.storage.gcs_errors import credentials_errors, gcs_errors, object_exists, object_missing, spool_errors

SCHEME = "gs://"
PATIENCE = 60.0
"""Seconds for which one operation is tried again."""
TIMEOUT = (10.0, 60.0)
"""Seconds to connect, and between two bytes of a reply."""
_IN_MEMORY = 8 << 20
_BLOCK = 1 << 20
_PAGE = 1000
"""The most that GCS lists in one reply (https://cloud.google.com/storage/docs/json_api/v1/objects/list)."""
_CHUNK = 16 << 20
"""What is uploaded in one request, and held in memory, of a file that is too big (8 MiB) for a single one."""
_SHA256 = "mlmeta-sha256"
_TOKEN = "mlmeta-token"  # noqa: S105 - no secret
_ABOUT = "mlmeta-about-"


class GcsStorage:
    """A prefix in a bucket. Credentials are the application's default ones. Threads may share it.

    Args:
        location: ``gs://bucket/prefix``.
        patience: seconds for which one operation is tried again, with growing pauses.
        timeout: seconds to connect, and between two bytes of a reply.

    Raises:
        UsageError: `location` names no bucket.
    """

    def __init__(self, location: str, *, patience: float = PATIENCE, timeout: tuple[float, float] = TIMEOUT) -> None:
        bucket, _, prefix = location.removeprefix(SCHEME).partition("/")
        if not bucket:
            raise UsageError(f"{location!r} names no bucket", hint="write gs://bucket/prefix")
        self._bucket_name = bucket
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        self.calls: dict[str, Any] = {"timeout": timeout, "retry": DEFAULT_RETRY.with_timeout(patience)}
        """What every call gets."""
        self.uploaded: dict[str, tuple[Digest, str]] = {}
        """What was published from here, by name: digest and CRC32C of the bytes as they were written."""

    @property
    def location(self) -> str:
        """``gs://bucket/prefix/``."""
        return f"{SCHEME}{self._bucket_name}/{self._prefix}"

    @cached_property
    def bucket(self) -> storage.Bucket:
        """The client's bucket. No request is made yet."""
        with gcs_errors(self.location), credentials_errors(self.location):
            # No project is needed to read and write objects.
            return storage.Client(project=None).bucket(self._bucket_name)

    def blob(self, name: str) -> storage.Blob:
        """The object of a file. No request is made."""
        return self.bucket.blob(self._prefix + name)

    def look_up(self, name: str) -> storage.Blob | None:
        """The object of a file with its properties; None where there is none."""
        with gcs_errors(self.location, name):
            return self.bucket.get_blob(self._prefix + name, **self.calls)

    def stage(self, *, private: bool = False) -> GcsStagedFile:
        """Begin a new file, in a local temporary file that has no name; who may read the bucket may read it then."""
        del private
        with spool_errors():
            return GcsStagedFile(self, tempfile.TemporaryFile(prefix="mlmeta-"))

    def files(self) -> Iterator[StoredFile]:
        """The objects below the prefix, one folder deep."""
        with gcs_errors(self.location):
            for blob in self.bucket.client.list_blobs(
                self.bucket,
                prefix=self._prefix,
                page_size=_PAGE,
                fields="items(name,size,updated,timeCreated,metadata),nextPageToken",
                **self.calls,
            ):
                name = blob.name.removeprefix(self._prefix)
                if name and name.count("/") <= 1 and not name.endswith("/"):
                    created = blob.time_created.timestamp() if blob.time_created else None
                    yield StoredFile(name, blob.size or 0, blob.updated.timestamp(), _about(blob.metadata), created)

    def stale(self, before: float) -> Iterator[StoredFile]:
        """None: what a killed process staged is a local temporary file without a name."""
        del before
        yield from ()

    def open(self, name: str, most: int | None = None) -> BinaryIO:
        """A file's content, downloaded whole and checked against the object's CRC32C."""
        spool = _Spool(self.location + name, most)
        try:
            with spool_errors(), gcs_errors(self.location, name):
                self.calls["retry"](self._download)(name, spool)  # a broken error message is not tried again within
        except BaseException:
            spool.close()
            raise
        return cast("BinaryIO", spool)

    def _download(self, name: str, spool: IO[bytes]) -> None:
        spool.seek(0)
        spool.truncate()
        blob = self.blob(name)
        blob.download_to_file(spool, raw_download=True, **self.calls)
        if blob.crc32c is None:  # the reply to a resumed download need not tell it
            blob.reload(**self.calls)
        # The client does not check a download that was cut and resumed.
        if blob.crc32c not in {None, _crc32c_of(spool)}:
            raise StorageError(
                f"{self.location}{name} did not arrive as it is stored: its CRC32C differs",
                hint="try again; if it happens again, check the network and its proxies",
            )
        spool.seek(0)

    def confirm(self, name: str, digest: Digest) -> None:
        """Hold size and CRC32C, as the server has them, against what was uploaded from here.

        What was uploaded elsewhere is downloaded: the SHA-256 in its metadata is only what somebody said.
        """
        blob = self.look_up(name)
        if blob is None:
            raise object_missing(self.location, name)
        written, crc32c = self.uploaded.get(name, (None, None))
        if written is None or blob.crc32c is None:
            written, crc32c = self._digest(name, digest.size), blob.crc32c
        if digest != written or (blob.size, blob.crc32c) != (written.size, crc32c):
            raise StorageError(
                f"{self.location}{name} does not hold what was written into it",
                hint="somebody else writes there, or it was altered on the way: try again",
            )

    def _digest(self, name: str, most: int) -> Digest:
        with self.open(name, most) as file:
            sha256 = hashlib.sha256()
            size = 0
            while block := file.read(_BLOCK):
                sha256.update(block)
                size += len(block)
            return Digest(size, sha256.hexdigest())

    def remove(self, name: str) -> bool:
        """Delete the object; one that is gone, also by a try whose reply was lost, counts as removed, by others."""
        with contextlib.suppress(ObjectMissingError), gcs_errors(self.location, name):
            self.blob(name).delete(**self.calls)
            return True
        return False


class _Spool(tempfile.SpooledTemporaryFile):  # type: ignore[type-arg]  # subscriptable from Python 3.12 on
    """A local temporary file that takes a download, up to a size: what a listing says is not what arrives.

    Args:
        where: the object, for the error.
        most: bytes; None: any number.
    """

    def __init__(self, where: str, most: int | None) -> None:
        super().__init__(max_size=_IN_MEMORY, prefix="mlmeta-")
        self._where = where
        self._most = most

    def write(self, data: Any) -> int:
        """Append `data`."""
        if self._most is not None and self.tell() + len(data) > self._most:
            raise ObjectRefusedError(
                f"{self._where} is not read: it has more than {self._most:,} bytes",
                hint="mlmeta only reads objects of limited size: find out who put it there",
            )
        return super().write(data)


class GcsStagedFile:
    """A file in a local temporary file, to be uploaded."""

    def __init__(self, storage: GcsStorage, spool: IO[bytes]) -> None:
        self._storage = storage
        self._spool = spool
        self._size = 0
        self._crc32c = 0
        self._token = secrets.token_hex(16)
        self._generations: dict[str, int] = {}

    def write(self, data: bytes) -> None:
        """Append `data`."""
        with spool_errors():
            self._spool.write(data)
        self._size += len(data)
        self._crc32c = _extend(self._crc32c, data)

    def publish(self, name: str, digest: Digest, about: Mapping[str, str] | None = None) -> None:
        """Upload, unless an object of that name exists; what the server has is checked against what was written."""
        where = self._storage.location + name
        if self._size != digest.size:
            raise StorageError(f"{where} was not written in full", hint="this is a bug in mlmeta: please report it")
        blob = self._create(name, digest, about or {})
        crc32c = _encoded(self._crc32c)
        if blob.crc32c not in {None, crc32c}:  # None: `confirm` will look
            raise StorageError(
                f"{where} did not arrive as it was written: its CRC32C differs",
                hint="try again; if it happens again, check the network and its proxies",
            )
        self._storage.uploaded[name] = (digest, crc32c)

    def _create(self, name: str, digest: Digest, about: Mapping[str, str]) -> storage.Blob:
        with spool_errors(), gcs_errors(self._storage.location):  # where it says "not found", that is the bucket
            blob = self._storage.blob(name)
            blob.metadata = {
                _SHA256: digest.sha256,
                _TOKEN: self._token,
                **{_ABOUT + key: value for key, value in about.items()},
            }
            try:
                self._upload(blob, digest.size)
            except (PreconditionFailed, Forbidden, NotFound) as error:
                blob = self._found(name, error)
            self._generations[name] = blob.generation
        return blob

    def _upload(self, blob: storage.Blob, size: int) -> None:
        blob.chunk_size = _CHUNK
        blob.upload_from_file(
            self._spool,
            rewind=True,
            size=size,
            content_type="application/gzip" if blob.name.endswith(".gz") else "application/json",
            if_generation_match=0,
            checksum="crc32c",
            **self._storage.calls,
        )

    def _found(self, name: str, error: Exception) -> storage.Blob:
        """The object that an earlier try made, whose reply was lost; raises `error` where that is not why it failed.

        To overwrite takes the permission to delete: without it the name of an existing object may be "forbidden".
        "Not found" is the bucket, or an upload session that is over.
        """
        blob = self._storage.look_up(name)
        if self._is_ours(blob):
            return blob
        if isinstance(error, PreconditionFailed) or (isinstance(error, Forbidden) and blob is not None):
            raise object_exists(self._storage.location, name) from error
        raise error

    def _is_ours(self, blob: storage.Blob | None) -> bool:
        return blob is not None and (blob.metadata or {}).get(_TOKEN) == self._token

    def withdraw(self, name: str) -> None:
        """Delete the object, if this very staged file made it."""
        generation = self._generations.get(name)
        if generation is None:
            blob = self._storage.look_up(name)
            if blob is None or not self._is_ours(blob):
                return
            generation = blob.generation
        with (
            gcs_errors(self._storage.location, name),
            contextlib.suppress(NotFound, PreconditionFailed),  # gone, or another's by now
        ):
            self._storage.blob(name).delete(if_generation_match=generation, **self._storage.calls)

    def discard(self) -> None:
        """Remove the temporary file."""
        with contextlib.suppress(OSError):  # flushing to a full disk fails again
            self._spool.close()


def _about(metadata: Mapping[str, str] | None) -> dict[str, str]:
    return {k.removeprefix(_ABOUT): v for k, v in (metadata or {}).items() if k.startswith(_ABOUT)}


_extend: Callable[[int, bytes], int] = google_crc32c.extend


def _crc32c_of(spool: IO[bytes]) -> str:
    crc32c = 0
    spool.seek(0)
    while block := spool.read(_BLOCK):
        crc32c = _extend(crc32c, block)
    return _encoded(crc32c)


def _encoded(crc32c: int) -> str:
    """As GCS writes it: base64 of four bytes, the highest first."""
    return base64.b64encode(crc32c.to_bytes(4, "big")).decode()
