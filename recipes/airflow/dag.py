"""A backup of MLflow's metadata at the end of an Airflow DAG, whether its tasks went well or not.

Tried with Airflow 3.3.2. mlmeta may have a virtual environment of its own on the workers; then name its program in
full (`/opt/mlmeta/bin/mlmeta backup …`). The workers' environment has `MLFLOW_TRACKING_URI`, `MLMETA_STORAGE` (a
folder or gs://bucket/prefix) and MLflow's credentials.

As a teardown the backup runs after all other tasks, and does not make a DAG run green whose tasks have failed, as a
last task with `trigger_rule="all_done"` would. With `on_failure_fail_dagrun`, a DAG run fails whose backup failed
(exit code 1) or lacks something (3). A retry would give the same for 3, and costs nothing.
"""

from datetime import datetime, timedelta, timezone

import mlflow
from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import dag, task


@dag(schedule="@daily", start_date=datetime(2026, 1, 1, tzinfo=timezone.utc), catchup=False)
def training() -> None:
    back_up_mlflow = BashOperator(
        task_id="back_up_mlflow",
        bash_command="mlmeta backup --incremental",
        retries=2,
        retry_delay=timedelta(seconds=30),
        execution_timeout=timedelta(minutes=30),
    ).as_teardown(on_failure_fail_dagrun=True)

    @task
    def train() -> None:
        with mlflow.start_run():
            mlflow.log_metric("loss", 0.5)

    train() >> back_up_mlflow


training()
