"""A backup of MLflow's metadata after every run of any Dagster job, whether it went well or not.

Tried with Dagster 1.13.29: a test runs the jobs and calls the sensors as the daemon does (`dagster dev`, or
`dagster-daemon run`), without the daemon itself. mlmeta has to be installed where the code runs. The environment has
`MLFLOW_TRACKING_URI`, `MLMETA_STORAGE` (a folder or gs://bucket/prefix) and MLflow's credentials.

The sensors see the runs of this code location that the daemon or the web server launches, by hand, schedule or sensor;
not those of `dagster job execute`, which belong to none.

The backup is a run of its own: what comes of it changes nothing about the run before it. It fails if the backup fails
or lacks something (what the command calls exit code 3).
"""

import os

import dagster as dg
import mlflow
import mlmeta


@dg.op(retry_policy=dg.RetryPolicy(max_retries=2, delay=30))
def back_up_mlflow(context: dg.OpExecutionContext) -> None:
    saved = mlmeta.backup(os.environ["MLFLOW_TRACKING_URI"], os.environ["MLMETA_STORAGE"], incremental=True)
    context.log.info(str(saved.require_complete()))


@dg.job
def mlflow_backup() -> None:
    back_up_mlflow()


def sensor_of(status: dg.DagsterRunStatus) -> dg.SensorDefinition:
    @dg.run_status_sensor(
        name=f"mlflow_backup_after_{status.value.lower()}",
        run_status=status,
        request_job=mlflow_backup,
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=30,
    )
    def after(context: dg.RunStatusSensorContext) -> dg.RunRequest | dg.SkipReason:
        if context.dagster_run.job_name == mlflow_backup.name:
            return dg.SkipReason("a backup")  # else each would be followed by another
        return dg.RunRequest(run_key=context.dagster_run.run_id)

    return after


@dg.op
def train() -> None:
    with mlflow.start_run():
        mlflow.log_metric("loss", 0.5)


@dg.job
def training() -> None:
    train()


ENDED = (dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)
defs = dg.Definitions(jobs=[training, mlflow_backup], sensors=[sensor_of(status) for status in ENDED])
