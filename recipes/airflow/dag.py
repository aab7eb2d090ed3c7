"""A backup of MLflow's metadata at the end of an Airflow DAG, whether its tasks went well or not.

Tried with Airflow 3.3.2. mlmeta may have a virtual environment of its own on the workers; then name its program in
full (`/opt/mlmeta/bin/mlmeta backup …`). The workers' environment has `MLFLOW_TRACKING_URI`, `MLMETA_STORAGE` (a
folder or gs://bucket/prefix) and MLflow's credentials.

The backup runs after the other tasks, whatever became of them. By itself, such a last task would make a DAG run green
whose tasks have failed (and so would a teardown with `on_failure_fail_dagrun`): `watcher` fails the run if any task
has failed, be it a task of the pipeline, or the backup with exit code 1 (there is none) or 3 (it lacks something).
"""

from datetime import datetime, timedelta, timezone

import mlflow
from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import dag, task


@task(trigger_rule="one_failed", retries=0)
def watcher() -> None:
    raise RuntimeError("a task has failed")


@dag(schedule="@daily", start_date=datetime(2026, 1, 1, tzinfo=timezone.utc), catchup=False)
def training() -> None:
    @task
    def train() -> None:
        with mlflow.start_run():
            mlflow.log_metric("loss", 0.5)

    back_up_mlflow = BashOperator(
        task_id="back_up_mlflow",
        bash_command="mlmeta backup --incremental",
        trigger_rule="all_done",
        retries=2,
        retry_delay=timedelta(seconds=30),
        execution_timeout=timedelta(minutes=30),
    )
    trained = train()
    trained >> back_up_mlflow
    [trained, back_up_mlflow] >> watcher()


training()
