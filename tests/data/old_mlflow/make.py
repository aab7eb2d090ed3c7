"""Makes the SQL dumps beside this file: stores of older MLflow versions, made by those versions' own clients.

Run with an environment that has nothing but the old version and its database packages, for example:

    python3.11 -m venv old
    old/bin/pip install mlflow-skinny==2.22.0 'sqlalchemy<2.1' alembic
    old/bin/python make.py

It writes ``mlflow_<version>.sql`` into this folder.
"""

from __future__ import annotations

import sqlite3
import tempfile
from pathlib import Path

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param


def fill(uri: str) -> None:
    client = MlflowClient(uri, uri)
    experiment = client.create_experiment("old one", artifact_location="gs://bucket/old", tags={"team": "é"})
    run = client.create_run(experiment, start_time=1_000, tags={"mlflow.user": "ann"}, run_name="first")
    points = [Metric("loss", 1 / (n + 1), 2_000 + n, n) for n in range(5)]
    client.log_batch(run.info.run_id, [*points, Metric("nan", float("nan"), 5, 0)], [Param("lr", "0.1")])
    client.log_inputs(
        run.info.run_id, [DatasetInput(Dataset("d", "abc", "local", "{}"), [InputTag("context", "train")])]
    )
    client.set_terminated(run.info.run_id, end_time=3_000)
    deleted = client.create_run(experiment, start_time=2_000)
    client.delete_run(deleted.info.run_id)
    client.create_registered_model("m", tags={"k": "v"})
    for number in (1, 2):
        client.create_model_version("m", f"gs://bucket/m/{number}", run.info.run_id, await_creation_for=0)
    client.delete_model_version("m", "1")
    client.set_registered_model_alias("m", "champion", "2")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "old.db"
        fill(f"sqlite:///{path}")
        connection = sqlite3.connect(path)
        with connection:  # the Default experiment's location would name a folder of this machine
            connection.execute("UPDATE experiments SET artifact_location = 'gs://bucket/0' WHERE experiment_id = 0")
        target = Path(__file__).parent / f"mlflow_{mlflow.__version__}.sql"
        target.write_text("\n".join(connection.iterdump()) + "\n")
        connection.close()


main()
