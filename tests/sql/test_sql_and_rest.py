"""A real server over the same database shows the same: what REST makes of absent and empty values decides."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import ViewType
from sql_helpers import records_of

from mlmeta.schema import Experiment, LatestMetric, RegisteredModel, Run

pytestmark = pytest.mark.slow  # starts an MLflow server


@pytest.fixture(scope="module")
def copied(filled: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(shutil.copy(filled, tmp_path_factory.mktemp("served") / "store.db"))


@pytest.fixture(scope="module")
def client(copied: Path) -> Iterator[MlflowClient]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", f"sqlite:///{copied}"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    uri = f"http://127.0.0.1:{port}"
    quiet = subprocess.DEVNULL
    server = subprocess.Popen(command, cwd=copied.parent, stdout=quiet, stderr=quiet, start_new_session=True)
    try:
        _wait_for(f"{uri}/health")
        yield MlflowClient(uri, uri)
    finally:
        os.killpg(server.pid, signal.SIGKILL)  # it has workers, and nothing to lose
        server.wait()


def _wait_for(url: str) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def test_experiments_as_over_rest(client: MlflowClient, copied: Path) -> None:
    shown = {
        e.experiment_id: Experiment(
            experiment_id=e.experiment_id,
            name=e.name,
            artifact_location=e.artifact_location or None,
            lifecycle_stage=e.lifecycle_stage,
            creation_time=e.creation_time,
            last_update_time=e.last_update_time,
            tags=e.tags,
        )
        for e in client.search_experiments(ViewType.ALL)
    }
    assert {r.experiment_id: r for r in records_of(f"sqlite:///{copied}") if isinstance(r, Experiment)} == shown


def test_runs_as_over_rest(client: MlflowClient, copied: Path) -> None:
    runs = client.search_runs(["0", "1", "2", "3"], run_view_type=ViewType.ALL)
    found = {r.run_id: r for r in records_of(f"sqlite:///{copied}") if isinstance(r, Run)}
    assert len(runs) == len(found)
    for run in runs:
        record = found[run.info.run_id]
        shown = Run(
            run_id=run.info.run_id,
            experiment_id=run.info.experiment_id,
            run_name=run.info.run_name or None,
            user_id=run.info.user_id or None,
            status=run.info.status,
            lifecycle_stage=run.info.lifecycle_stage,
            start_time=run.info.start_time,
            end_time=run.info.end_time,
            deleted_time=record.deleted_time,
            artifact_uri=run.info.artifact_uri or None,
            params=run.data.params,
            tags=run.data.tags,
            metrics={
                m.key: LatestMetric(value=m.value, step=m.step, timestamp=m.timestamp) for m in run.data._metric_objs
            },
            dataset_inputs=[
                {"dataset": i.dataset.to_dictionary(), "tags": {t.key: t.value for t in i.tags}}
                for i in run.inputs.dataset_inputs
            ],
            model_inputs=record.model_inputs,
            model_outputs=[o.to_dictionary() for o in run.outputs.model_outputs],
        )
        assert record.to_line() == shown.to_line()


def test_models_as_over_rest(client: MlflowClient, copied: Path) -> None:
    found = {r.name: r for r in records_of(f"sqlite:///{copied}") if isinstance(r, RegisteredModel)}
    versions = [*client.search_model_versions()]
    prompts = "tag.`mlflow.prompt.is_prompt` = 'true'"
    models = [*client.search_registered_models(), *client.search_registered_models(prompts)]
    versions += [*client.search_model_versions(prompts)]
    assert {model.name for model in models} == set(found)
    for model in models:
        locations = {str(v.version): v.storage_location for v in found[model.name].versions}  # see UNSHOWN_BY_API
        shown = RegisteredModel(
            name=model.name,
            creation_timestamp=model.creation_timestamp,
            last_updated_timestamp=model.last_updated_timestamp,
            description=model.description or None,
            tags=model._tags,  # the public ones leave out what makes it a prompt
            aliases={alias: int(number) for alias, number in model.aliases.items()},
            versions=[
                {
                    "version": int(v.version),
                    "creation_timestamp": v.creation_timestamp,
                    "last_updated_timestamp": v.last_updated_timestamp,
                    "user_id": v.user_id or None,
                    "current_stage": v.current_stage,
                    "description": v.description or None,
                    "source": v.source or None,
                    "run_id": v.run_id or None,
                    "run_link": v.run_link or None,
                    "status": v.status,
                    "status_message": v.status_message or None,
                    "storage_location": locations[str(v.version)],
                    "tags": v.tags,
                }
                for v in versions
                if v.name == model.name
            ],
        )
        assert found[model.name].to_line() == shown.to_line()
