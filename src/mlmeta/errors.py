"""Every error that mlmeta raises on purpose.

    MlmetaError                         exit code
    ├── UsageError                          2   an option, URI or name can't be used
    │   ├── AmbiguousSelectorError          2   a prefix that names several snapshots
    │   ├── UnknownRecordError              2   a snapshot has no experiment, run or model that is named
    │   └── ConfigurationError              2   a configuration file that can't be used
    ├── ConnectionFailedError               1   source or target could not be used
    │   ├── UnreachableError                1   nothing answers there
    │   ├── AuthenticationError             1   401 or 403
    │   ├── NotMlflowError                  1   something answers, but not an MLflow server
    │   ├── ReplyError                      1   a reply that is too big, too slow, or not one of MLflow's
    │   │   ├── OversizedReplyError         1   too big: less at once may do
    │   │   └── UnknownCallError            1   the server does not have this part of MLflow's API
    │   ├── ClusterError                    1   a cluster that was to read did not do it
    │   ├── MissingStoreError               1   a database or folder that does not exist
    │   └── IncompatibleStoreError          1   a store this MLflow can't work with
    ├── StorageError                        1   a place for snapshots could not be used
    │   ├── StorageMissingError             5   there is no such folder (yet)
    │   ├── BucketMissingError              1   there is no such bucket
    │   ├── StorageDeniedError              1   no permission
    │   ├── StorageFullError                1   no space left
    │   ├── ObjectMissingError              4   a file that should be there is not
    │   ├── ObjectRefusedError              4   what has the name of a file is a link, a pipe, or too big
    │   ├── ObjectExistsError               1   create-only write met an existing file
    │   └── SnapshotConflictError           1   a storage has another snapshot under the same timestamp
    ├── TemporaryFolderError                1   the folder for temporary files can't be used, or has no room
    ├── SnapshotError                       4   a snapshot can't be trusted
    │   ├── DamagedSnapshotError            4   cut, altered, missing, or not JSON
    │   ├── BaseSnapshotError               4   the one that a backup builds on can't be read
    │   └── UnsupportedSchemaError          1   written by a newer major version
    ├── SnapshotNotFoundError               5   no snapshot answers to that name
    ├── RestoreError                        1   the target could not take the snapshot
    │   └── ConflictError                   1   the target holds other data under the same id or name
    ├── IncompleteError                     3   a result that had to be complete is not
    ├── OperatingSystemError                1   no space, no permission, too many open files, no memory
    └── InternalError                       1   a bug in mlmeta

An error's text says what happened and where; its `hint` says what to do. What a caller may want to
act on is an attribute, so that nobody has to take a message apart.
"""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """What a finished command says to its caller."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    INCOMPLETE = 3
    DIFFERENT = 4
    NOT_FOUND = 5
    HUNG_UP = 129
    INTERRUPTED = 130
    TERMINATED = 143


class MlmetaError(Exception):
    """Base of all errors that mlmeta raises on purpose.

    Args:
        message: what happened, and where.
        hint: what to do about it.
    """

    exit_code: ExitCode = ExitCode.FAILED

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint

    @property
    def code(self) -> str:
        """A stable word for machines, such as ``snapshot_not_found``."""
        words = "".join(f"_{c.lower()}" if c.isupper() else c for c in type(self).__name__)
        return words.removeprefix("_").removesuffix("_error")

    def __reduce__(self) -> tuple[object, ...]:
        """So that it can come back from another process, whatever its arguments are."""
        return _revived, (type(self), self.args, self.__dict__)


def _revived(kind: type[MlmetaError], args: tuple[object, ...], attributes: dict[str, object]) -> MlmetaError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(attributes)
    return error


class UsageError(MlmetaError):
    """An option, URI or name of the call can't be used."""

    exit_code = ExitCode.USAGE


class AmbiguousSelectorError(UsageError):
    """A prefix names several snapshots."""


class UnknownRecordError(UsageError):
    """A snapshot has no experiment, run or model that is named.

    Args:
        message: what happened, and where.
        hint: what to do about it.
        wanted: the text that names nothing.
    """

    def __init__(self, message: str, *, hint: str = "", wanted: str = "") -> None:
        super().__init__(message, hint=hint)
        self.wanted = wanted


class ConfigurationError(UsageError):
    """A configuration file can't be used, or has no such profile."""


class ConnectionFailedError(MlmetaError):
    """A source or target could not be used."""


class UnreachableError(ConnectionFailedError):
    """Nothing answers at the tracking URI."""


class AuthenticationError(ConnectionFailedError):
    """The server refused the credentials (401) or the permission (403)."""


class NotMlflowError(ConnectionFailedError):
    """Something answers at the tracking URI, but not an MLflow server."""


class ReplyError(ConnectionFailedError):
    """A server's reply is too big, or not one of MLflow's. Its text says what it is."""


class OversizedReplyError(ReplyError):
    """A server's reply is too big: less at once, or by itself, it may do."""


class UnknownCallError(ReplyError):
    """A server does not have this part of MLflow's API."""


class ClusterError(ConnectionFailedError):
    """The cluster that batches were handed to can't be reached, lacks something, or lost them."""


class MissingStoreError(ConnectionFailedError):
    """The database or folder that the tracking URI names does not exist."""


class IncompatibleStoreError(ConnectionFailedError):
    """The store's schema is one that the installed MLflow can't work with."""


class StorageError(MlmetaError):
    """A storage could not be used."""


class StorageMissingError(StorageError):
    """There is no such folder. The first backup makes it."""

    exit_code = ExitCode.NOT_FOUND


class BucketMissingError(StorageError):
    """There is no such bucket. mlmeta makes none: its name is a mistake, and says nothing about snapshots."""


class StorageDeniedError(StorageError):
    """The storage refuses us."""


class StorageFullError(StorageError):
    """The storage has no space left."""


class ObjectMissingError(StorageError):
    """A file that should be in the storage is not.

    Args:
        message: what happened, and where.
        name: the file's name in the storage.
    """

    exit_code = ExitCode.DIFFERENT

    def __init__(self, message: str, *, name: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.name = name


class ObjectRefusedError(StorageError):
    """What has the name of a file is not read: it is a link, a pipe, a device, a folder, or too big."""

    exit_code = ExitCode.DIFFERENT


class ObjectExistsError(StorageError):
    """A create-only write met a file of that name.

    Args:
        message: what happened, and where.
        name: the file's name in the storage.
    """

    def __init__(self, message: str, *, name: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.name = name


class TemporaryFolderError(MlmetaError):
    """The folder for temporary files (`TMPDIR`) can't be used, or has no room."""


class SnapshotConflictError(StorageError):
    """A storage has another snapshot under the same timestamp."""


class SnapshotError(MlmetaError):
    """A snapshot can't be trusted."""

    exit_code = ExitCode.DIFFERENT


class DamagedSnapshotError(SnapshotError):
    """A file of a snapshot is cut, altered, missing, or not what its name says."""


class BaseSnapshotError(SnapshotError):
    """An earlier snapshot, which a backup takes unchanged histories from, can't be read to its end."""


class UnsupportedSchemaError(SnapshotError):
    """A snapshot was written by a newer major version of the schema."""

    exit_code = ExitCode.FAILED


class SnapshotNotFoundError(MlmetaError):
    """No snapshot answers to a selector.

    Args:
        message: what was looked for, and where.
        nearest: timestamps of the nearest snapshots, at most three.
    """

    exit_code = ExitCode.NOT_FOUND

    def __init__(self, message: str, *, nearest: tuple[str, ...] = (), hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.nearest = nearest


class RestoreError(MlmetaError):
    """A target could not take a snapshot."""


class ConflictError(RestoreError):
    """The target holds other data under the same id or name."""


class IncompleteError(MlmetaError):
    """A result that had to be complete is not: see `Result.require_complete`. What was done stays.

    Args:
        message: what is missing, or wrong.
        issues: all of it, each in a line.
        exit_code: of the result.
    """

    exit_code = ExitCode.INCOMPLETE

    def __init__(
        self,
        message: str,
        *,
        issues: tuple[str, ...] = (),
        exit_code: ExitCode = ExitCode.INCOMPLETE,
        hint: str = "",
    ) -> None:
        super().__init__(message, hint=hint)
        self.issues = issues
        self.exit_code = exit_code


class OperatingSystemError(MlmetaError):
    """The operating system did not give what every program needs: space, permission, files, memory, threads."""


class InternalError(MlmetaError):
    """A promise inside mlmeta was broken: a bug."""


class TerminatedError(BaseException):
    """SIGTERM or SIGHUP arrived. Not an `Exception`, like `KeyboardInterrupt`, so that only clean-up sees it.

    Args:
        exit_code: that the process shall have.
    """

    def __init__(self, exit_code: ExitCode = ExitCode.TERMINATED) -> None:
        super().__init__(exit_code)
        self.exit_code = exit_code
