"""A backup of MLflow's metadata at the end of a Prefect flow, whether its tasks went well or not.

Tried with Prefect 3.9.1. mlmeta has to be installed where the flow runs. The environment has `MLFLOW_TRACKING_URI`,
`MLMETA_STORAGE` (a folder or gs://bucket/prefix) and MLflow's credentials.

If a task fails, its error is the flow's, whatever comes of the backup. If only the backup fails or lacks something
(what the command calls exit code 3), the flow fails with that.
"""

import os

import mlflow
import mlmeta
from prefect import flow, task


@task(retries=2, retry_delay_seconds=30)
def back_up_mlflow() -> str:
    saved = mlmeta.backup(os.environ["MLFLOW_TRACKING_URI"], os.environ["MLMETA_STORAGE"], incremental=True)
    return saved.require_complete().timestamp


@task
def train() -> None:
    with mlflow.start_run():
        mlflow.log_metric("loss", 0.5)


@flow
def nightly() -> None:
    try:
        train()
    finally:
        saved = back_up_mlflow(return_state=True)  # raises nothing: an error of the tasks goes on from here
    saved.result()  # they went well: what is wrong with the backup is raised now


if __name__ == "__main__":
    nightly()
