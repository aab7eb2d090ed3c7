"""Opens the MLflow store that a tracking URI names, so that no command asks what kind it has."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from mlmeta.errors import UsageError
from mlmeta.exporter.source import Source
from mlmeta.restorer.target import Target
from mlmeta.snapshot import reader
from mlmeta.snapshot.reader import Snapshot
from mlmeta.storage import open_storage

DEFAULT_JOBS = 8


@contextmanager
def open_source(tracking_uri: str, registry_uri: str | None = None, jobs: int = DEFAULT_JOBS) -> Iterator[Source]:
    """A source, closed at the end of the block.

    Args:
        tracking_uri: as for `MlflowClient`.
        registry_uri: of the model registry; None: as MLflow resolves it.
        jobs: requests under way at once.

    Raises:
        UsageError: there is no tracking URI.
        ConnectionFailedError: it can't be used.
    """
    from mlmeta.exporter.api import ApiSource
    from mlmeta.tracking.connection import Connection

    source = ApiSource(Connection(given(tracking_uri), registry_uri), jobs)
    try:
        yield source
    finally:
        source.close()


@contextmanager
def open_target(tracking_uri: str, registry_uri: str | None = None, jobs: int = DEFAULT_JOBS) -> Iterator[Target]:
    """A target, closed at the end of the block. Arguments and errors as for `open_source`."""
    from mlmeta.restorer.api import ApiTarget
    from mlmeta.tracking.connection import Connection

    target = ApiTarget(Connection(given(tracking_uri), registry_uri), jobs)
    try:
        yield target
    finally:
        target.close()


def open_snapshot(storage: str = "backups", selector: str = "latest") -> Snapshot:
    """A snapshot, to read its records.

    Args:
        storage: a folder or ``gs://bucket/prefix``.
        selector: a timestamp, a unique prefix of one, ``latest``, ``latest~N``, or an ISO 8601 instant.

    Raises:
        SnapshotNotFoundError: there is no such snapshot.
        SnapshotError: it can't be trusted, or a newer mlmeta wrote it.
        StorageError: the storage can't be read.
    """
    return reader.open_snapshot(open_storage(storage), selector)


def given(tracking_uri: str) -> str:
    """The tracking URI, which must be there.

    Raises:
        UsageError: it is empty.
    """
    if not tracking_uri:
        raise UsageError("no MLflow server is named", hint="name it with --tracking-uri, or set MLFLOW_TRACKING_URI")
    return tracking_uri
