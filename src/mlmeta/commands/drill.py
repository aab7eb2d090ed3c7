"""The proof that a backup restores: into a throwaway database, read back, compared record by record."""

from __future__ import annotations

from pathlib import Path

from mlmeta.progress import Progress
from mlmeta.schema import Selection
from mlmeta.scratch import scratch_folder
from mlmeta.snapshot.reader import Snapshot
from mlmeta.stores.opening import Store, open_target
from mlmeta.stores.proof import Comparison, prove
from mlmeta.stores.target import RestoreOptions


def drill(snapshot: Snapshot, progress: Progress) -> Comparison:
    """Restore a whole snapshot into a SQLite file that is thrown away, and compare what a fresh read of it gives.

    Args:
        snapshot: to be tried.
        progress: told how far it is.

    Raises:
        SnapshotError: the snapshot is damaged.
        RestoreError: it can't be restored.
    """
    with scratch_folder() as folder, snapshot.kept_open():
        store = Store(f"sqlite:///{Path(folder) / 'drill.db'}")
        with open_target(store, RestoreOptions(ids="keep")) as target:
            target.restore(snapshot, Selection(), progress)
            progress.phase("reading it back")
            return prove(target.read_back(snapshot, Selection()), target.unkept)
