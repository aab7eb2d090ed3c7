"""Fills a real MLflow store with something of everything that a snapshot holds."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunStatus, RunTag
from mlflow.entities.model_registry import ModelVersionTag, RegisteredModelTag


@dataclass
class Content:
    """The ids of what was made."""

    experiments: dict[str, str] = field(default_factory=dict)
    runs: dict[str, str] = field(default_factory=dict)


def fill(uri: str) -> Content:
    """Something of everything: nested, deleted, running and failed runs; odd metrics; a registry with gaps."""
    client = MlflowClient(uri)
    content = Content()
    _experiments(client, content)
    _runs(client, content)
    _registry(client, content)
    _prompt(client)
    client.delete_run(content.runs["deleted"])
    client.delete_experiment(content.experiments["abandoned"])
    return content


def _experiments(client: MlflowClient, content: Content) -> None:
    for name in ("churn", "größe 模型", "abandoned", "empty"):
        content.experiments[name] = client.create_experiment(
            name, artifact_location=f"gs://artifacts/{len(content.experiments)}", tags={"team": "blue", "note": name}
        )


def _run(client: MlflowClient, content: Content, name: str, experiment: str, start: int, **tags: str) -> str:
    run = client.create_run(
        content.experiments[experiment], start_time=start, run_name=name, tags={"mlflow.user": "ada", **tags}
    )
    content.runs[name] = run.info.run_id
    return str(run.info.run_id)


def _end(client: MlflowClient, run_id: str, status: str, end: int) -> None:
    client._tracking_client.store.update_run_info(run_id, RunStatus.from_string(status), end, None)


def _runs(client: MlflowClient, content: Content) -> None:
    parent = _run(client, content, "parent", "churn", 1_700_000_000_000)
    for number in range(3):
        child = _run(client, content, f"child-{number}", "churn", 1_700_000_000_000, **{"mlflow.parentRunId": parent})
        curve = [Metric("loss", 1 / (step + 1) + number, 1_700_000_000_000 + step, step) for step in range(20)]
        client.log_batch(child, curve, [Param("lr", f"0.{number}"), Param("empty", "")], [RunTag("fold", str(number))])
        _end(client, child, "FINISHED", 1_700_000_100_000 + number)
    _end(client, parent, "FINISHED", 1_700_000_200_000)
    odd = _run(client, content, "odd", "größe 模型", 1_700_000_300_000)
    odd_param = Param("odd key/a.b:c d", '🎈 line\nbreak "quoted" \\ \'')
    client.log_batch(odd, _odd_metrics(), [odd_param], [RunTag("long", "x" * 4000)])
    client.log_inputs(odd, [_dataset("train", "d1", "training"), _dataset("test", "d2", "eval")])
    _end(client, odd, "FAILED", 1_700_000_400_000)
    _run(client, content, "running", "größe 模型", 1_700_000_500_000)
    deleted = _run(client, content, "deleted", "churn", 1_700_000_600_000)
    client.log_batch(deleted, [Metric("loss", 0.5, 1, 0)], [Param("lr", "1")])
    gone = _run(client, content, "gone", "abandoned", 1_700_000_700_000)
    client.log_batch(gone, [Metric("loss", 0.25, 1, 0), Metric("loss", 0.125, 2, 1)])


def _odd_metrics() -> list[Metric]:
    return [
        Metric("nan", math.nan, 5, 0),
        Metric("infinite", math.inf, 5, 0),
        Metric("infinite", -math.inf, 6, 1),
        Metric("unordered", 3.0, 30, 7),
        Metric("unordered", 1.0, 10, 9),
        Metric("unordered", 2.0, 20, 8),
        Metric("repeated", 1.0, 1, 1),
        Metric("repeated", 1.0, 1, 1),
        Metric("repeated", 1.5, 1, 1),
        Metric("negative step", 1.0, 1, -5),
        Metric("huge step", 1.0, 1, 2**62),
        Metric("tiny", 5e-324, 1, 0),
        Metric("third", 1 / 3, 1, 0),
        Metric("single", 42.0, 1_700_000_300_001, 3),
    ]


def _dataset(name: str, digest: str, context: str) -> DatasetInput:
    dataset = Dataset(name=name, digest=digest, source_type="gs", source="{}", schema='{"a": 1}', profile=None)
    return DatasetInput(dataset=dataset, tags=[InputTag("mlflow.data.context", context)])


def _registry(client: MlflowClient, content: Content) -> None:
    client.create_registered_model("churn-model", tags={"owner": "ada"}, description="predicts churn")
    for number in range(1, 6):
        client.create_model_version(
            "churn-model",
            f"gs://artifacts/0/{content.runs['child-0']}/artifacts/model-{number}",
            run_id=content.runs["child-0"] if number != 4 else None,
            tags={"number": str(number)},
            description=f"version {number}",
            await_creation_for=0,
        )
    client.delete_model_version("churn-model", "2")
    client.transition_model_version_stage("churn-model", "1", "Archived")
    client.transition_model_version_stage("churn-model", "3", "Production")
    client.set_registered_model_alias("churn-model", "champion", "3")
    client.set_registered_model_alias("churn-model", "challenger", "5")
    client.create_registered_model("it's empty")


def _prompt(client: MlflowClient) -> None:
    store = client._get_registry_client().store
    store.create_registered_model("greeting", [RegisteredModelTag("mlflow.prompt.is_prompt", "true")])
    tags = {"mlflow.prompt.is_prompt": "true", "mlflow.prompt.text": "Hello {{name}}"}
    store.create_model_version("greeting", "dummy-source", tags=[ModelVersionTag(k, v) for k, v in tags.items()])
