"""A program that uses mlmeta, for mypy: it is checked with the package, and never run."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from typing_extensions import assert_type

import mlmeta
from mlmeta import BackupResult, Snapshot, UnreachableError


def save(uri: str, places: list[Path]) -> BackupResult:
    mlmeta.backup(Path("mlruns"), "backups", registry_uri=Path("mlruns"))
    mlmeta.backup(uri, [Path("a"), "gs://b"], executor=ThreadPoolExecutor(2))
    saved = mlmeta.backup(uri, places, keep=mlmeta.Rules(last=3), experiments={"a", "b"}, without="spans")
    return assert_type(saved.require_complete(), BackupResult)


def names(snapshot: Snapshot) -> Iterator[str]:
    for run in snapshot.runs():
        yield assert_type(run, mlmeta.Run).run_name or run.run_id
    assert_type(snapshot.history("abc", "loss").value, list[float])
    for model in snapshot.select("churn", only=["models"]).models():
        assert_type(model.aliases, dict[str, int])


def progress(done: mlmeta.Progress) -> None:
    done.phase("")


def main() -> int:
    here = Path("backups")
    try:
        save("http://localhost:5000", [here])
    except UnreachableError as error:
        print(assert_type(error.hint, str))
    except mlmeta.IncompleteError as error:
        assert_type(error.issues, tuple[str, ...])
        return int(error.exit_code)
    for info in mlmeta.list_snapshots(here).snapshots:
        print(assert_type(info, mlmeta.SnapshotInfo).state is mlmeta.SnapshotState.COMPLETE)
    print(mlmeta.open_snapshot(here).to_pandas("runs").describe())
    for change in mlmeta.diff("latest~1", "latest", here).require_complete().comparison.changes:
        print(assert_type(change.kind, str))
    part = mlmeta.Selection("churn", only="runs")
    mlmeta.restore("sqlite:///a.db", "latest", here, ids="keep", selection=part, rewrite={"gs://a": "gs://b"})
    mlmeta.restore("sqlite:///a.db", storage=here, ids="kept")  # type: ignore[arg-type]
    mlmeta.restore("sqlite:///a.db", storage=here, on_conflict="stop")  # type: ignore[arg-type]
    mlmeta.verify(["latest"], here)
    mlmeta.copy("latest", here, "gs://b", missing=True)
    mlmeta.prune(here, mlmeta.Rules(last=1), dry_run=True)
    return 0
