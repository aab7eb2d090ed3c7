"""A server with workspaces (MLflow 3.10 on), in which the same names mean different things."""

from __future__ import annotations

import json
import urllib.request
from dataclasses import dataclass, field
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Metric, Param
from mlflow.entities.model_registry import ModelVersionTag, RegisteredModelTag

ENABLED = ("--enable-workspaces",)
"""What `mlflow server` has to be started with."""


@dataclass
class InWorkspaces:
    """What `fill_workspaces` made: ids of experiments and of runs, by workspace and name."""

    experiments: dict[tuple[str, str], str] = field(default_factory=dict)
    runs: dict[tuple[str, str], str] = field(default_factory=dict)


def create_workspace(uri: str, name: str, description: str = "") -> None:
    """Make a workspace on a server."""
    body = json.dumps({"name": name, "description": description}).encode()
    headers = {"Content-Type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(f"{uri}/api/3.0/mlflow/workspaces", body, headers)) as reply:
        assert reply.status == 201


def fill_workspaces(uri: str) -> InWorkspaces:
    """Experiments `churn` and models `churn` with equal numbers and aliases, in three workspaces, ids interleaved."""
    from mlflow.utils.workspace_context import WorkspaceContext  # MLflow before 3.10 has none

    made = InWorkspaces()
    for name in ("team-a", "team-b"):
        create_workspace(uri, name, f"what {name} does")
    for workspace in ("default", "team-b", "team-a"):
        with WorkspaceContext(workspace):
            _experiment(MlflowClient(uri), made, workspace, "churn")
    for workspace, name in (("team-a", "only a"), ("default", "only default"), ("team-a", "gone")):
        with WorkspaceContext(workspace):
            _experiment(MlflowClient(uri), made, workspace, name)
    for workspace, name in (("team-a", "churn"), ("default", "churn"), ("team-b", "churn"), ("team-b", "another")):
        with WorkspaceContext(workspace):
            _model(MlflowClient(uri), made, workspace, name)
    with WorkspaceContext("team-a"):
        client = MlflowClient(uri)
        client.delete_experiment(made.experiments["team-a", "gone"])
        _prompt(client)
    for workspace in ("team-a", "default"):
        _dataset(uri, made, workspace)
    return made


def _dataset(uri: str, made: InWorkspaces, workspace: str) -> None:
    experiment = made.experiments[workspace, "churn"]
    made_of = {"name": "questions", "experiment_ids": [experiment], "tags": json.dumps({"team": workspace})}
    dataset = _post(f"{uri}/api/3.0/mlflow/datasets/create", made_of, workspace)["dataset"]["dataset_id"]
    records = json.dumps([{"inputs": {"question": f"what does {workspace} do?"}}])
    _post(f"{uri}/api/3.0/mlflow/datasets/{dataset}/records", {"records": records}, workspace)


def _post(address: str, body: dict[str, Any], workspace: str) -> Any:
    headers = {"Content-Type": "application/json", "X-MLFLOW-WORKSPACE": workspace}
    with urllib.request.urlopen(urllib.request.Request(address, json.dumps(body).encode(), headers)) as reply:
        return json.load(reply)


def _experiment(client: MlflowClient, made: InWorkspaces, workspace: str, name: str) -> None:
    experiment = made.experiments[workspace, name] = client.create_experiment(name, tags={"team": workspace})
    for number in range(2):
        run = client.create_run(experiment, start_time=1_700_000_000_000 + number, run_name=f"{workspace} {number}")
        made.runs[workspace, f"{name} {number}"] = run.info.run_id
        loss = [Metric("loss", len(workspace) / (step + 1), 1_700_000_000_000 + step, step) for step in range(5)]
        client.log_batch(run.info.run_id, loss, [Param("workspace", workspace)])
        client.set_terminated(run.info.run_id, end_time=1_700_000_100_000)
    client.create_logged_model(experiment, f"forest of {workspace}", run.info.run_id)


def _prompt(client: MlflowClient) -> None:
    """As `register_prompt`, but for the thread in which that links the prompt to its experiment."""
    store, is_prompt = client._get_registry_client().store, "mlflow.prompt.is_prompt"
    store.create_registered_model("greeting", [RegisteredModelTag(is_prompt, "true")])
    tags = [ModelVersionTag(is_prompt, "true"), ModelVersionTag("mlflow.prompt.text", "Hello {{name}}, says team a")]
    store.create_model_version("greeting", "dummy-source", tags=tags)


def _model(client: MlflowClient, made: InWorkspaces, workspace: str, name: str) -> None:
    client.create_registered_model(name, tags={"team": workspace}, description=f"of {workspace}")
    run = made.runs[workspace, "churn 0"]
    for number in ("1", "2"):
        source = f"gs://bucket/{workspace}/{run}/{number}"
        client.create_model_version(name, source, run, tags={"of": workspace}, await_creation_for=0)
    client.set_registered_model_alias(name, "champion", "1" if workspace == "team-a" else "2")
