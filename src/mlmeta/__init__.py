"""mlmeta: back up an MLflow server's metadata as small JSON snapshots, and bring it back.

    import mlmeta

    saved = mlmeta.backup("http://mlflow:5000", "backups/").require_complete()
    print(saved.timestamp, saved.stats)

    snapshot = mlmeta.open_snapshot("backups/", "latest")
    for run in snapshot.runs():
        print(run.run_name, run.metrics)
    table = snapshot.to_pandas("runs")

    mlmeta.restore("http://new-mlflow:5000", "latest", "backups/").require_complete()

Every function here is what the command of that name calls. All are typed, and imported on first use.
docs/reference/python.md has more.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from mlmeta.commands.backup import BackupResult as BackupResult, backup as backup
    from mlmeta.commands.copy import CopyResult as CopyResult, copy as copy
    from mlmeta.commands.diff import DiffResult as DiffResult, diff as diff
    from mlmeta.commands.doctor import DoctorResult as DoctorResult, doctor as doctor
    from mlmeta.commands.forget import ForgetResult as ForgetResult, forget as forget
    from mlmeta.commands.list import ListResult as ListResult, list_snapshots as list_snapshots
    from mlmeta.commands.migrate import MigrateResult as MigrateResult, migrate as migrate
    from mlmeta.commands.prune import PruneResult as PruneResult, prune as prune
    from mlmeta.commands.report import ReportResult as ReportResult, report as report
    from mlmeta.commands.restore import RestoreResult as RestoreResult, restore as restore
    from mlmeta.commands.result import Issue as Issue, Result as Result
    from mlmeta.commands.rewrite import RewriteResult as RewriteResult, rewrite as rewrite
    from mlmeta.commands.verify import VerifyResult as VerifyResult, verify as verify
    from mlmeta.errors import (
        AmbiguousSelectorError as AmbiguousSelectorError,
        AuthenticationError as AuthenticationError,
        BaseSnapshotError as BaseSnapshotError,
        BucketMissingError as BucketMissingError,
        ClusterError as ClusterError,
        ConfigurationError as ConfigurationError,
        ConflictError as ConflictError,
        ConnectionFailedError as ConnectionFailedError,
        DamagedSnapshotError as DamagedSnapshotError,
        ExitCode as ExitCode,
        IncompatibleStoreError as IncompatibleStoreError,
        IncompleteError as IncompleteError,
        InternalError as InternalError,
        MissingStoreError as MissingStoreError,
        MlmetaError as MlmetaError,
        NotMlflowError as NotMlflowError,
        ObjectExistsError as ObjectExistsError,
        ObjectMissingError as ObjectMissingError,
        ObjectRefusedError as ObjectRefusedError,
        OperatingSystemError as OperatingSystemError,
        OversizedReplyError as OversizedReplyError,
        ReplyError as ReplyError,
        RestoreError as RestoreError,
        SnapshotConflictError as SnapshotConflictError,
        SnapshotError as SnapshotError,
        SnapshotNotFoundError as SnapshotNotFoundError,
        StorageDeniedError as StorageDeniedError,
        StorageError as StorageError,
        StorageFullError as StorageFullError,
        StorageMissingError as StorageMissingError,
        TemporaryFolderError as TemporaryFolderError,
        UnknownCallError as UnknownCallError,
        UnknownRecordError as UnknownRecordError,
        UnreachableError as UnreachableError,
        UnsupportedSchemaError as UnsupportedSchemaError,
        UsageError as UsageError,
    )
    from mlmeta.progress import Progress as Progress
    from mlmeta.schema import (
        DatasetRecord as DatasetRecord,
        EvaluationDataset as EvaluationDataset,
        Experiment as Experiment,
        LoggedModel as LoggedModel,
        MetricHistory as MetricHistory,
        ModelVersion as ModelVersion,
        RegisteredModel as RegisteredModel,
        Row as Row,
        Run as Run,
        Selection as Selection,
        Skipped as Skipped,
        Span as Span,
        Summary as Summary,
        Trace as Trace,
    )
    from mlmeta.snapshot.catalog import SnapshotInfo as SnapshotInfo, SnapshotState as SnapshotState
    from mlmeta.snapshot.reader import Snapshot as Snapshot
    from mlmeta.snapshot.retention import Rules as Rules
    from mlmeta.stores.opening import open_snapshot as open_snapshot
    from mlmeta.stores.target import Plan as Plan

_NAMES = {
    "commands.backup": ("BackupResult", "backup"),
    "commands.copy": ("CopyResult", "copy"),
    "commands.diff": ("DiffResult", "diff"),
    "commands.doctor": ("DoctorResult", "doctor"),
    "commands.forget": ("ForgetResult", "forget"),
    "commands.list": ("ListResult", "list_snapshots"),
    "commands.migrate": ("MigrateResult", "migrate"),
    "commands.prune": ("PruneResult", "prune"),
    "commands.report": ("ReportResult", "report"),
    "commands.restore": ("RestoreResult", "restore"),
    "commands.result": ("Issue", "Result"),
    "commands.rewrite": ("RewriteResult", "rewrite"),
    "commands.verify": ("VerifyResult", "verify"),
    "errors": (
        *("AmbiguousSelectorError", "AuthenticationError", "BaseSnapshotError", "BucketMissingError"),
        *("ClusterError", "ConfigurationError", "ConflictError", "ConnectionFailedError"),
        *("DamagedSnapshotError", "ExitCode", "IncompatibleStoreError", "IncompleteError"),
        *("InternalError", "MissingStoreError", "MlmetaError", "NotMlflowError", "ObjectExistsError"),
        *("ObjectMissingError", "ObjectRefusedError", "OperatingSystemError", "OversizedReplyError"),
        *("ReplyError", "RestoreError", "SnapshotConflictError", "SnapshotError"),
        *("SnapshotNotFoundError", "StorageDeniedError", "StorageError", "StorageFullError"),
        *("StorageMissingError", "TemporaryFolderError", "UnknownCallError", "UnknownRecordError"),
        *("UnreachableError", "UnsupportedSchemaError", "UsageError"),
    ),
    "progress": ("Progress",),
    "schema": (
        *("DatasetRecord", "EvaluationDataset", "Experiment", "LoggedModel", "MetricHistory"),
        *("ModelVersion", "RegisteredModel", "Row", "Run", "Selection", "Skipped", "Span", "Summary", "Trace"),
    ),
    "snapshot.catalog": ("SnapshotInfo", "SnapshotState"),
    "snapshot.reader": ("Snapshot",),
    "snapshot.retention": ("Rules",),
    "stores.opening": ("open_snapshot",),
    "stores.target": ("Plan",),
}
_HOMES = {name: home for home, names in _NAMES.items() for name in names}

__all__ = ["__version__", *_HOMES]  # noqa: PLE0604 - they are strings


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
