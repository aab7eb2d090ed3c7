"""`mlmeta browse`: a snapshot in MLflow's own UI, from a throwaway store."""

from __future__ import annotations

from collections.abc import Callable

from mlmeta.commands.result import Result
from mlmeta.progress import Progress, Silent
from mlmeta.schema import KINDS, Selection
from mlmeta.snapshot.reader import Snapshot
from mlmeta.stores.opening import Store, open_snapshot, open_target
from mlmeta.stores.rewrite import BUCKETS_ONLY
from mlmeta.stores.server import mlflow_server, throwaway_folder
from mlmeta.stores.target import RestoreOptions


class BrowseResult(Result):
    """What was looked at; the store is gone again."""

    timestamp: str
    storage: str
    uri: str


def browse(
    selector: str,
    storage: str,
    look: Callable[[str, str], None],
    *,
    of_source: str = "",
    port: int | None = None,
    progress: Progress | None = None,
) -> BrowseResult:
    """Restore a snapshot into a SQLite file that is thrown away, and run `mlflow server` on it.

    Artifact locations outside of buckets are made unreadable: the server is on this machine, and the snapshot may be
    from anywhere. What would act by itself there, such as a webhook, is left out.

    Args:
        selector: which snapshot.
        storage: where it is.
        look: called with the snapshot's timestamp and the server's URI; when it returns, the server is ended.
        of_source: label or tracking URI of the source that is meant, where the storage has several.
        port: on the loopback interface; None: any that is free.
        progress: told how far it is.

    Raises:
        SnapshotNotFoundError: there is no such snapshot.
        DamagedSnapshotError: it can't be trusted.
        UnreachableError: the server did not start.
    """
    progress = progress or Silent()
    snapshot = open_snapshot(storage, selector, of_source=of_source)
    with throwaway_folder() as folder:
        options = RestoreOptions(ids="keep", rewrite=BUCKETS_ONLY, inert=True)
        with open_target(Store(f"sqlite:///{folder / 'mlflow.db'}"), options) as target:
            target.restore(snapshot, Selection(), progress)
        progress.phase("starting MLflow's UI")
        with mlflow_server(folder, port=port, workspaces=_has_workspaces(snapshot)) as uri:
            progress.phase("")
            look(snapshot.timestamp, uri)
    return BrowseResult(
        timestamp=snapshot.timestamp, storage=snapshot.storage.location, uri=uri, warnings=snapshot.notes
    )


def _has_workspaces(snapshot: Snapshot) -> bool:
    """Whether anything in a snapshot is in another workspace than the default one."""
    kinds = [kind for kind in KINDS.values() if kind.workspace is not None]
    return any(kind.workspace(record) for kind in kinds if kind.workspace for record in snapshot.records(kind))
