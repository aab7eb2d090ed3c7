"""Restores through a server whose plan has to say what they then do."""

from __future__ import annotations

from pathlib import Path

from mlflow import MlflowClient

from mlmeta import restore
from mlmeta.commands.restore import RestoreResult
from mlmeta.schema import Record, Selection
from tests.builders.snapshots import write
from tests.support.plain import rows
from tests.support.server import Server


def restore_as_planned(
    server: Server, folder: Path, *records: Record, undelete: bool = False, selection: Selection | None = None
) -> RestoreResult:
    """A restore, after a dry run that ended with the same exit code, counts and refusals, and wrote nothing.

    Args:
        server: to restore into.
        folder: where the snapshot is.
        records: of a snapshot that is written there first, if there are any.
        undelete: as for `restore`.
        selection: likewise.
    """
    if records:
        write(folder, records)
    before = rows(server.database)
    planned = restore(server.uri, "latest", str(folder), undelete=undelete, selection=selection, dry_run=True)
    assert rows(server.database) == before
    done = restore(server.uri, "latest", str(folder), undelete=undelete, selection=selection)
    assert planned.plan is not None
    assert planned.exit_code == done.exit_code, done.issues
    named = sorted((r.kind, r.id, r.field) for r in planned.plan.refused)
    assert named == sorted((r.kind, r.id, r.field) for r in done.refused)
    assert (planned.plan.create, planned.plan.present) == (done.created, done.present)
    assert planned.plan.undelete == done.undeleted
    return done


def unfinish(client: MlflowClient, name: str) -> str:
    """Make a restored run look as if its restore had been stopped; its id."""
    churn = client.get_experiment_by_name("churn").experiment_id
    (half,) = client.search_runs([churn], f"attributes.run_name = '{name}'")
    client.delete_tag(half.info.run_id, "mlmeta.snapshot")
    client.delete_tag(half.info.run_id, "fold")
    return str(half.info.run_id)
