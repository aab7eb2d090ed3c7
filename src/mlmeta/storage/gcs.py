"""A Google Cloud Storage bucket as storage.

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
from typing import IO, TYPE_CHECKING, Any, BinaryIO, cast

from mlmeta.errors import ObjectExistsError, ObjectMissingError, StorageError, UsageError
from mlmeta.storage.base import Digest, StoredFile
from mlmeta.storage.gcs_errors import gcs_errors, spool_errors

if TYPE_CHECKING:
    from google.cloud import storage

SCHEME = "gs://"
PATIENCE = 60.0
"""Seconds for which one operation is tried again."""
TIMEOUT = (10.0, 60.0)
"""Seconds to connect, and between two bytes of a reply."""
_IN_MEMORY = 8 << 20
_BLOCK = 1 << 20
_SHA256 = "mlmeta-sha256"
_TOKEN = "mlmeta-token"  # noqa: S105 - no secret
_ABOUT = "mlmeta-about-"


class GcsStorage:
    """A prefix in a bucket. Credentials are the application's default ones.

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
        self._patience = patience
        self._timeout = timeout

    @property
    def location(self) -> str:
        """``gs://bucket/prefix/``."""
        return f"{SCHEME}{self._bucket_name}/{self._prefix}"

    @cached_property
    def bucket(self) -> storage.Bucket:
        """The client's bucket. No request is made yet."""
        from google.cloud import storage

        with gcs_errors(self.location):
            try:
                client = storage.Client()
            except OSError:  # no project is known; none is needed to read and write objects
                client = storage.Client(project=None)
            return client.bucket(self._bucket_name)

    @property
    def calls(self) -> dict[str, Any]:
        """What every call gets: timeout, and retries with back-off, bounded in time."""
        from google.cloud.storage.retry import DEFAULT_RETRY

        return {"timeout": self._timeout, "retry": DEFAULT_RETRY.with_timeout(self._patience)}

    def blob(self, name: str) -> storage.Blob:
        """The object of a file."""
        return self.bucket.blob(self._prefix + name)

    def stage(self) -> GcsStagedFile:
        """Begin a new file, in a local temporary file."""
        with spool_errors():
            return GcsStagedFile(self, tempfile.TemporaryFile(prefix="mlmeta-"))

    def files(self) -> Iterator[StoredFile]:
        """The objects below the prefix, one folder deep, 1,000 a request."""
        with gcs_errors(self.location):
            for blob in self.bucket.client.list_blobs(
                self.bucket,
                prefix=self._prefix,
                fields="items(name,size,updated,metadata),nextPageToken",
                **self.calls,
            ):
                name = blob.name.removeprefix(self._prefix)
                if name and name.count("/") <= 1 and not name.endswith("/"):
                    yield StoredFile(name, blob.size or 0, blob.updated.timestamp(), _about(blob.metadata))

    def stale(self, before: float) -> Iterator[StoredFile]:
        """None: what a killed process staged is a local temporary file without a name."""
        del before
        yield from ()

    def open(self, name: str) -> BinaryIO:
        """A file's content, downloaded whole and held against the object's CRC32C."""
        blob = self.blob(name)
        spool = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY, prefix="mlmeta-")  # noqa: SIM115
        try:
            with spool_errors(), gcs_errors(self.location, name):
                blob.download_to_file(spool, raw_download=True, **self.calls)
            _must_have_arrived(spool, blob, self.location + name)
        except BaseException:
            spool.close()
            raise
        spool.seek(0)
        return cast("BinaryIO", spool)

    def confirm(self, name: str, digest: Digest) -> None:
        """Look at the object's size and recorded SHA-256; where none is recorded, download it."""
        with gcs_errors(self.location, name):
            blob = self.bucket.get_blob(self._prefix + name, **self.calls)
        if blob is None:
            raise ObjectMissingError(f"{self.location}{name} is missing", name=name)
        recorded = (blob.metadata or {}).get(_SHA256) or self._sha256(name)
        if Digest(blob.size or 0, recorded) != digest:
            raise StorageError(f"{self.location}{name} does not hold what was written into it")

    def _sha256(self, name: str) -> str:
        with self.open(name) as file:
            sha256 = hashlib.sha256()
            while block := file.read(_BLOCK):
                sha256.update(block)
            return sha256.hexdigest()

    def remove(self, name: str) -> None:
        """Delete the object; one that is gone, also by a try whose reply was lost, counts as removed."""
        with contextlib.suppress(ObjectMissingError), gcs_errors(self.location, name):
            self.blob(name).delete(**self.calls)


class GcsStagedFile:
    """A file in a local temporary file, to be uploaded."""

    def __init__(self, storage: GcsStorage, spool: IO[bytes]) -> None:
        self._storage = storage
        self._spool = spool
        self._token = secrets.token_hex(16)

    def write(self, data: bytes) -> None:
        """Append `data`."""
        with spool_errors():
            self._spool.write(data)

    def publish(self, name: str, digest: Digest, about: Mapping[str, str] | None = None) -> None:
        """Upload, unless an object of that name exists. The server holds it against the client's checksum."""
        from google.api_core.exceptions import PreconditionFailed

        blob = self._storage.blob(name)
        blob.metadata = {
            _SHA256: digest.sha256,
            _TOKEN: self._token,
            **{_ABOUT + key: value for key, value in (about or {}).items()},
        }
        with spool_errors():
            self._spool.flush()
        with gcs_errors(self._storage.location):  # not found can only mean the bucket
            try:
                blob.upload_from_file(
                    self._spool,
                    rewind=True,
                    size=digest.size,
                    content_type="application/gzip" if name.endswith(".gz") else "application/json",
                    if_generation_match=0,
                    checksum="crc32c",
                    **self._storage.calls,
                )
            except PreconditionFailed as error:
                if not self._is_ours(blob):
                    raise ObjectExistsError(f"{self._storage.location}{name} exists already", name=name) from error

    def _is_ours(self, blob: storage.Blob) -> bool:
        """Whether the object is of this very staged file: then an earlier try made it, and only its reply was lost."""
        found = blob.bucket.get_blob(blob.name, **self._storage.calls)
        return found is not None and (found.metadata or {}).get(_TOKEN) == self._token

    def discard(self) -> None:
        """Remove the temporary file."""
        with contextlib.suppress(OSError):  # flushing to a full disk fails again
            self._spool.close()


def _about(metadata: Mapping[str, str] | None) -> dict[str, str]:
    return {k.removeprefix(_ABOUT): v for k, v in (metadata or {}).items() if k.startswith(_ABOUT)}


def _must_have_arrived(spool: IO[bytes], blob: storage.Blob, where: str) -> None:
    """Hold a download against the checksum that came with it. The client does not, where it was cut and resumed.

    Raises:
        StorageError: something else arrived.
    """
    import google_crc32c

    if blob.crc32c is None:
        return
    extend: Callable[[int, bytes], int] = google_crc32c.extend
    crc = 0
    spool.seek(0)
    while block := spool.read(_BLOCK):
        crc = extend(crc, block)
    if crc != int.from_bytes(base64.b64decode(blob.crc32c), "big"):
        raise StorageError(f"{where} did not arrive as it is stored: its checksum differs", hint="try again")
