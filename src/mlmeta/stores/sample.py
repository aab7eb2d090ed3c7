"""Something worth losing: experiments, nested runs, metric curves, a registered model."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlflow import MlflowClient

_START = 1_760_000_000_000
_STEPS = 60


def fill(tracking_uri: str) -> None:
    """Create the demo's content.

    Args:
        tracking_uri: of an empty server.
    """
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri)
    best = ""
    for number, name in enumerate(("churn", "demand-forecast")):
        experiment = client.create_experiment(name, tags={"team": "growth"})
        sweep = _run(client, experiment, f"{name}-sweep", number)
        for trial in range(3):
            best = _run(client, experiment, f"{name}-{trial}", trial, {"mlflow.parentRunId": sweep})
            _train(client, best, learning_rate=0.1 / (trial + 1))
        client.set_terminated(sweep, end_time=_START + 900_000)
    _register(client, best)


def _run(client: MlflowClient, experiment: str, name: str, number: int, tags: dict[str, str] | None = None) -> str:
    run = client.create_run(
        experiment,
        start_time=_START + number * 60_000,
        run_name=name,
        tags={"mlflow.user": "ada", **(tags or {})},
    )
    return str(run.info.run_id)


def _train(client: MlflowClient, run_id: str, learning_rate: float) -> None:
    from mlflow.entities import Metric, Param

    def curve(key: str, values: list[float]) -> list[Any]:
        return [Metric(key, value, _START + step * 1000, step) for step, value in enumerate(values)]

    loss = [math.exp(-step * learning_rate) for step in range(_STEPS)]
    metrics = curve("loss", loss) + curve("accuracy", [1 - value / 2 for value in loss])
    params = [Param("learning_rate", str(round(learning_rate, 4))), Param("epochs", str(_STEPS))]
    client.log_batch(run_id, metrics, params)
    client.set_terminated(run_id, end_time=_START + 600_000)


def _register(client: MlflowClient, run_id: str) -> None:
    from mlflow.exceptions import MlflowException

    client.create_registered_model("churn-classifier", tags={"owner": "ada"}, description="who will leave?")
    for version in ("1", "2", "3"):
        source = f"gs://your-bucket/artifacts/1/{run_id}/artifacts/model-{version}"
        client.create_model_version("churn-classifier", source, run_id, await_creation_for=0)
    client.delete_model_version("churn-classifier", "2")
    try:
        client.transition_model_version_stage("churn-classifier", "3", "Production")
    except (AttributeError, MlflowException):  # a later MLflow may have no stages any more
        client.set_model_version_tag("churn-classifier", "3", "stage", "Production")
    client.set_registered_model_alias("churn-classifier", "champion", "3")
