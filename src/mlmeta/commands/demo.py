"""The loop: create, back up, lose, restore, prove."""

from __future__ import annotations

import time
from pathlib import Path

from mlmeta.commands.backup import BackupResult, backup
from mlmeta.commands.list import ListResult, list_snapshots
from mlmeta.commands.restore import RestoreResult, restore
from mlmeta.commands.result import Issue, Result
from mlmeta.errors import ExitCode
from mlmeta.progress import Progress
from mlmeta.stores.sample import fill
from mlmeta.stores.server import mlflow_server, throwaway_folder

ROOT = "gs://your-bucket/artifacts"


class DemoResult(Result):
    """What the loop showed.

    Args:
        backup: of the first server.
        snapshots: in the storage then.
        restore: into the second, with its proof.
        seconds: how long all of it took.
    """

    backup: BackupResult
    snapshots: ListResult
    restore: RestoreResult
    seconds: float

    @property
    def issues(self) -> tuple[Issue, ...]:
        """Of its parts."""
        return self.backup.issues + self.restore.issues

    @property
    def exit_code(self) -> ExitCode:
        """Of the part that went worst."""
        return max(self.backup.exit_code, self.restore.exit_code)


def demo(progress: Progress) -> DemoResult:
    """Run the loop in a temporary folder, which is removed, with servers that are ended.

    Args:
        progress: told of each step.

    Raises:
        UnreachableError: `mlflow server` did not start.
    """
    began = time.monotonic()
    with throwaway_folder() as folder:
        storage = str(folder / "backups")
        progress.phase("starting an MLflow server")
        with mlflow_server(_new(folder / "first"), ROOT) as uri:
            progress.phase("creating experiments, nested runs, metric curves, a registered model")
            fill(uri)
            saved = backup(uri, [storage], progress=progress)
        progress.phase("losing the server: its database is deleted")
        (folder / "first" / "mlflow.db").unlink()
        progress.phase("starting a new, empty MLflow server")
        with mlflow_server(_new(folder / "second"), ROOT) as uri:
            restored = restore(uri, "latest", storage, progress=progress)
        return DemoResult(
            backup=saved,
            snapshots=list_snapshots(storage),
            restore=restored,
            seconds=time.monotonic() - began,
        )


def _new(folder: Path) -> Path:
    folder.mkdir()
    return folder
