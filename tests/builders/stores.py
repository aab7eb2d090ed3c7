"""Real MLflow stores: filled through MLflow's client, long histories straight into the database."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import (
    Dataset,
    DatasetInput,
    InputTag,
    Metric,
    Param,
    RunStatus,
    RunTag,
)
from mlflow.entities.model_registry import ModelVersionTag, RegisteredModelTag

from mlmeta.schema import Point, canonical


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


def add_logged_models(uri: str, *, deleted: bool = True) -> dict[str, str]:
    """Three in one experiment, of which one is deleted, and one in another; their ids by name.

    Through a server, the first is registered as well: a store by itself asks MLflow's global one for it.
    """
    from mlflow.entities import LoggedModelInput, LoggedModelOutput  # MLflow 2 has none

    client = MlflowClient(uri, uri)
    first = client.create_experiment("first", "gs://bucket/first")
    second = client.create_experiment("second", "gs://bucket/second")
    run = client.create_run(first, start_time=1).info.run_id
    forest = client.create_logged_model(
        first, "forest", run, {"team": "growth"}, {"depth": "3", "empty": ""}, "classifier"
    ).model_id
    dataset = Dataset("train", "abc", "local", "{}")
    client.log_inputs(run, [DatasetInput(dataset, [])])
    points = [
        Metric("auc", 0.5, 10, 1, model_id=forest, run_id=run),
        Metric("auc", 0.75, 20, 2, model_id=forest, run_id=run, dataset_name="train", dataset_digest="abc"),
        Metric("loss", 0.1 + 0.2, 10, 0, model_id=forest, run_id=run),
    ]
    client.log_batch(run, points)
    client.log_outputs(run, [LoggedModelOutput(forest, 2)])
    client.finalize_logged_model(forest, "READY")
    client.set_terminated(run)
    unicode = client.create_logged_model(first, "ünï").model_id
    gone = client.create_logged_model(first, "gone").model_id
    client.finalize_logged_model(gone, "FAILED")
    if deleted:
        client.delete_logged_model(gone)
    user = client.create_run(second, start_time=2).info.run_id
    client.log_inputs(user, models=[LoggedModelInput(forest)])
    other = client.create_logged_model(second, "other", user).model_id
    if uri.startswith("http"):
        client.create_registered_model("registered")
        client.create_model_version("registered", f"models:/{forest}", run, model_id=forest, await_creation_for=0)
    return {"forest": forest, "ünï": unicode, "gone": gone, "other": other}


def add_history(database: Path, run_id: str, key: str, points: Iterable[Point]) -> list[Point]:
    """Store a metric's points as MLflow does: each once, the latest one also in `latest_metrics`.

    Straight into the database: through its API, long histories would take minutes.

    Returns:
        What a backup has to give: the points in canonical order.
    """
    found = canonical(points)
    rows = [(run_id, key, step, timestamp, *_stored(value)) for step, timestamp, value in found]
    columns = "(run_uuid, key, step, timestamp, value, is_nan)"
    with closing(sqlite3.connect(database, timeout=30)) as db, db:
        db.executemany(f"INSERT INTO metrics {columns} VALUES (?, ?, ?, ?, ?, ?)", rows)
        db.execute(f"INSERT INTO latest_metrics {columns} VALUES (?, ?, ?, ?, ?, ?)", rows[-1])
    return found


def _stored(value: float) -> tuple[float, bool]:
    return (0.0, True) if math.isnan(value) else (value, False)
