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
    from mlmeta.commands.backup import BackupResult as BackupResult, backup as backup
    from mlmeta.commands.copy import CopyResult as CopyResult, copy as copy
    from mlmeta.commands.diff import DiffResult as DiffResult, diff as diff
    from mlmeta.commands.list import ListResult as ListResult, list_snapshots as list_snapshots
    from mlmeta.commands.prune import PruneResult as PruneResult, prune as prune
    from mlmeta.commands.restore import RestoreResult as RestoreResult, restore as restore
    from mlmeta.commands.verify import VerifyResult as VerifyResult, verify as verify
    from mlmeta.errors import MlmetaError as MlmetaError
    from mlmeta.schema import Selection as Selection
    from mlmeta.snapshot.reader import Snapshot as Snapshot
    from mlmeta.snapshot.retention import Rules as Rules
    from mlmeta.stores.opening import open_snapshot as open_snapshot

_NAMES = {
    "commands.backup": ("BackupResult", "backup"),
    "commands.copy": ("CopyResult", "copy"),
    "commands.diff": ("DiffResult", "diff"),
    "commands.list": ("ListResult", "list_snapshots"),
    "commands.prune": ("PruneResult", "prune"),
    "commands.restore": ("RestoreResult", "restore"),
    "commands.verify": ("VerifyResult", "verify"),
    "errors": ("MlmetaError",),
    "schema": ("Selection",),
    "snapshot.reader": ("Snapshot",),
    "snapshot.retention": ("Rules",),
    "stores.opening": ("open_snapshot",),
}
_HOMES = {name: home for home, names in _NAMES.items() for name in names}

__all__ = ["__version__", *_HOMES]  # noqa: PLE0604 - they are strings


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
