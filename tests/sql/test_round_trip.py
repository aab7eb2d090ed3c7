"""What comes out of a database goes into another one, and comes out the same."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

from mlflow import MlflowClient

from mlmeta.schema import RegisteredModel, Run
from mlmeta.stores.sql.restorer import SqlTarget
from mlmeta.stores.target import RestoreOptions
from tests.sql.helpers import (
    ALL,
    QUIET,
    all_runs,
    assert_proven,
    assert_round_trip,
    backup,
    digests,
    proof_of,
    records_of,
)


def test_sqlite_to_new_sqlite_gives_equal_bytes(filled: Path, tmp_path: Path) -> None:
    snapshot = backup(f"sqlite:///{filled}", tmp_path / "a")
    uri = f"sqlite:///{tmp_path / 'deep' / 'new #1 ü.db'}"
    report = SqlTarget(uri).restore(snapshot, ALL, QUIET)
    assert report.created == {"experiments": 4, "runs": 6, "models": 4, "model versions": 5}
    assert not report.refused
    assert digests(backup(uri, tmp_path / "b")) == digests(snapshot)
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["new #1 ü.db"], "no temporary file stays behind"


def test_sqlite_to_postgresql_to_sqlite_gives_equal_bytes(
    filled: Path, tmp_path: Path, postgres: Callable[[], str]
) -> None:
    assert_round_trip(filled, postgres(), tmp_path)


def test_postgresql_made_by_mlflow_is_read_in_code_point_order(tmp_path: Path, postgres: Callable[[], str]) -> None:
    uri = postgres()
    client = MlflowClient(uri, uri)
    for name in ("b", "B", "é", "a", "_", "Z"):
        client.create_registered_model(name)
    run = client.create_run("0", start_time=1)
    for key in ("b", "B", "é", "a", "_", "Z"):
        for step in (1, 0):
            client.log_metric(run.info.run_id, key, -0.0, timestamp=1, step=step)
    snapshot = backup(uri, tmp_path / "a")  # the writer refuses any other order
    other = postgres()
    SqlTarget(other).restore(snapshot, ALL, QUIET)
    assert digests(backup(other, tmp_path / "b")) == digests(snapshot)
    new = (
        client.create_experiment("after the backup"),
        MlflowClient(other, other).create_experiment("after the restore"),
    )
    assert new == ("1", "1")


def test_records_say_what_mlflow_says(filled: Path) -> None:
    uri = f"sqlite:///{filled}"
    found = {record.run_id: record for record in records_of(uri) if isinstance(record, Run)}
    expected = all_runs(uri)
    assert len(expected) == len(found) == 6
    for run in expected:
        record = found[run.info.run_id]
        assert (record.run_name, record.user_id) == (run.info.run_name, run.info.user_id or None)
        assert (record.status, record.lifecycle_stage) == (run.info.status, run.info.lifecycle_stage)
        assert (record.start_time, record.end_time) == (run.info.start_time, run.info.end_time)
        assert record.artifact_uri == run.info.artifact_uri
        assert (record.params, record.tags) == (run.data.params, run.data.tags)
        assert {k: repr(m.value) for k, m in record.metrics.items()} == {
            k: repr(v) for k, v in run.data.metrics.items()
        }
        assert len(record.dataset_inputs) == len(run.inputs.dataset_inputs)
        assert [o.model_id for o in record.model_outputs] == [o.model_id for o in run.outputs.model_outputs]
    rich = next(record for record in found.values() if "loss" in record.metrics and record.params)
    assert math.isnan(rich.metrics["nan only"].value)
    assert rich.dataset_inputs[0].tags == {"mlflow.data.context": "train"}
    assert [m.model_id for m in rich.model_inputs] == ["m-1"]
    assert any(record.deleted_time for record in found.values())


def test_histories_say_what_mlflow_says(filled: Path) -> None:
    uri = f"sqlite:///{filled}"
    client = MlflowClient(uri, uri)
    histories = [record for record in records_of(uri) if type(record).__name__ == "MetricHistory"]
    assert {history.key for history in histories} == {"loss", "big", "far"}
    for history in histories:
        expected = {
            (m.step, m.timestamp, repr(m.value)) for m in client.get_metric_history(history.run_id, history.key)
        }
        assert [(s, t, repr(v)) for s, t, v in history.points()] == sorted(
            ((s, t, repr(v)) for s, t, v in history.points()), key=lambda p: (p[0], p[1], p[2] == "nan", float(p[2]))
        )
        assert {(s, t, repr(v)) for s, t, v in history.points()} == expected


def test_mlflow_works_on_the_restored_store(filled: Path, tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/new.db"
    SqlTarget(uri).restore(backup(f"sqlite:///{filled}", tmp_path / "a"), ALL, QUIET)
    client = MlflowClient(uri, uri)
    assert _as_mlflow_sees(uri) == _as_mlflow_sees(f"sqlite:///{filled}")
    assert [r.info.start_time for r in client.search_runs(["1"], "metrics.far < 1", order_by=["metrics.far"])] == [
        1_000
    ]
    assert client.create_experiment("next one") == "4"
    run = client.create_run("1")
    client.log_metric(run.info.run_id, "loss", 1.0)
    assert client.create_model_version("zeta", "gs://bucket/m/5", await_creation_for=0).version == 5
    assert client.get_model_version_by_alias("zeta", "champion").version == 4
    assert client.load_prompt("prompts:/greeting/1").template == "Say hello to {{name}}"


def test_version_numbers_and_gaps_are_kept(filled: Path) -> None:
    models = {
        record.name: record for record in records_of(f"sqlite:///{filled}") if isinstance(record, RegisteredModel)
    }
    assert list(models) == ["Zeta", "greeting", "zeta", "é model"]
    assert [version.version for version in models["zeta"].versions] == [1, 3, 4]
    assert models["zeta"].aliases == {"champion": 4}
    assert models["zeta"].versions[1].current_stage == "Production"


def test_read_back_gives_the_snapshots_records(filled: Path, tmp_path: Path) -> None:
    snapshot = backup(f"sqlite:///{filled}", tmp_path / "a")
    uri, options = f"sqlite:///{tmp_path}/new.db", RestoreOptions(rewrite=(("gs://bucket", "s3://other/place"),))
    SqlTarget(uri, options).restore(snapshot, ALL, QUIET)
    assert_proven(uri, snapshot, options)
    assert "artifact_uri" in {difference.field for difference in proof_of(uri, snapshot).differences}


def _as_mlflow_sees(uri: str) -> dict[str, str]:
    found = {}
    for run in all_runs(uri):
        run.inputs.dataset_inputs.sort(key=lambda used: used.dataset.name)  # MLflow gives them in no order
        found[run.info.run_id] = json.dumps(run.to_dictionary(), sort_keys=True, default=repr)
    return found
