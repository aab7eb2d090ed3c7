"""mlmeta: back up an MLflow server's metadata as small JSON snapshots, and bring it back.

    import mlmeta

    saved = mlmeta.backup("http://mlflow:5000", ["backups/"])
    print(saved.timestamp, saved.stats)

    snapshot = mlmeta.open_snapshot("backups/", "latest")
    for item in snapshot.runs():
        print(item.run.run_name, item.run.metrics)

    mlmeta.restore("http://new-mlflow:5000", "latest", "backups/")

Every function here is what the command of that name calls. All are typed, and imported on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from mlmeta.commands.backup import BackupResult, backup
    from mlmeta.commands.copy import CopyResult, copy
    from mlmeta.commands.diff import DiffResult, diff
    from mlmeta.commands.list import ListResult, list_snapshots
    from mlmeta.commands.prune import PruneResult, prune
    from mlmeta.commands.restore import RestoreResult, restore
    from mlmeta.commands.verify import VerifyResult, verify
    from mlmeta.errors import MlmetaError
    from mlmeta.schema import Selection
    from mlmeta.snapshot.reader import Snapshot
    from mlmeta.snapshot.retention import Rules
    from mlmeta.stores.opening import open_snapshot

_HOMES = {
    "BackupResult": "commands.backup",
    "CopyResult": "commands.copy",
    "DiffResult": "commands.diff",
    "ListResult": "commands.list",
    "MlmetaError": "errors",
    "PruneResult": "commands.prune",
    "RestoreResult": "commands.restore",
    "Rules": "snapshot.retention",
    "Selection": "schema",
    "Snapshot": "snapshot.reader",
    "VerifyResult": "commands.verify",
    "backup": "commands.backup",
    "copy": "commands.copy",
    "diff": "commands.diff",
    "list_snapshots": "commands.list",
    "open_snapshot": "stores.opening",
    "prune": "commands.prune",
    "restore": "commands.restore",
    "verify": "commands.verify",
}

__all__ = [
    "BackupResult",
    "CopyResult",
    "DiffResult",
    "ListResult",
    "MlmetaError",
    "PruneResult",
    "RestoreResult",
    "Rules",
    "Selection",
    "Snapshot",
    "VerifyResult",
    "__version__",
    "backup",
    "copy",
    "diff",
    "list_snapshots",
    "open_snapshot",
    "prune",
    "restore",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
