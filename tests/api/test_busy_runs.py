"""Runs that are written while they are read: each is consistent in itself, and `verify` sees one that is not."""

from __future__ import annotations

from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Metric

from mlmeta import backup, verify
from mlmeta.schema import METRICS, RUNS
from mlmeta.stores.api.histories import Asked, HistoryReader, RunToRead
from mlmeta.stores.opening import open_snapshot
from tests.support.server import Server


def points(steps: range, value: float = 0.5) -> list[Metric]:
    return [Metric("loss", value, 1_000 + step, step) for step in steps]


@pytest.mark.parametrize(("ended", "latest", "notices"), [(False, 4, 0), (True, 2, 1)])
def test_latest_metrics_of_a_run_that_goes_on(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ended: bool, latest: int, notices: int
) -> None:
    client = MlflowClient(server.uri)
    run_id = client.create_run("0", start_time=1).info.run_id
    client.log_batch(run_id, [*points(range(3)), Metric("still", 1.0, 5, 0)])
    if ended:
        client.set_terminated(run_id)
    begin = HistoryReader.begin

    def later(reader: HistoryReader, group: list[RunToRead]) -> Asked:
        client.log_batch(run_id, points(range(3, 5), float("nan")))
        return begin(reader, group)

    monkeypatch.setattr(HistoryReader, "begin", later)
    folder = str(tmp_path / "backups")
    assert backup(server.uri, [folder]).exit_code == 0
    snapshot = open_snapshot(folder)
    (run,) = snapshot.records(RUNS)
    (history,) = snapshot.records(METRICS)
    assert history.step == [0, 1, 2, 3, 4]
    assert {key: (metric.step, metric.timestamp) for key, metric in run.metrics.items()} == {
        "loss": (latest, 1_000 + latest),
        "still": (0, 5),
    }
    checked = verify(storage=folder)
    assert checked.exit_code == 0
    assert len(checked.warnings) == notices
    assert all(f"'loss' of run {run_id}: written during the backup" in text for text in checked.warnings)
