"""What installs mlmeta, run for real: the first stage of the Dockerfile (without Docker), the first step of the action.

These download packages for minutes: `make test-recipes` runs them, once it has made its environments.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from mlflow import MlflowClient

import mlmeta
from tests.recipes.actions import use
from tests.recipes.environments import ROOT, python_of
from tests.support.databases import Databases
from tests.support.server import free_port

PATIENCE = 900
QUICKER = {"PIP_NO_COMPILE": "1"}
"""Python compiles what is imported, and little of it is."""
pytestmark = [
    pytest.mark.skipif(python_of("notebook") is None, reason="`make test-recipes` runs it"),
    pytest.mark.timeout(2 * PATIENCE),
]


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the first stage of the Dockerfile makes as `/opt/mlmeta`."""
    text = (ROOT / "recipes" / "docker" / "Dockerfile").read_text().replace("\\\n", "")
    folder = tmp_path_factory.mktemp("image")
    context, target = folder / "src", folder / "mlmeta"
    context.mkdir()
    stage = text[text.index("AS build") : text.rindex("\nFROM ")]
    for sources in re.findall(r"^COPY (.*) \S+$", stage, re.MULTILINE):
        for source in map(ROOT.joinpath, sources.split()):
            if source.is_dir():
                shutil.copytree(source, context / source.name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, context)
    (step,) = re.findall(r"^RUN (.*)$", stage, re.MULTILINE)
    command = ["sh", "-c", step.replace("/opt/mlmeta", str(target))]
    env = {**os.environ, "PYTHONPATH": "", **QUICKER}
    subprocess.run(command, cwd=context, env=env, check=True, timeout=PATIENCE)
    return target


def environment(image: Path) -> dict[str, str]:
    """What a container has."""
    return {"PATH": f"{image / 'bin'}:{os.environ['PATH']}", "HOME": str(image.parent), "MLMETA_NO_CONFIG": "1"}


def test_the_image_saves(image: Path, databases: Databases, tmp_path: Path) -> None:
    env = {**environment(image), "MLFLOW_TRACKING_URI": databases.uri("filled"), "MLMETA_STORAGE": str(tmp_path / "b")}
    subprocess.run(["mlmeta", "backup"], cwd=tmp_path, env=env, check=True)
    assert mlmeta.open_snapshot(tmp_path / "b").summary.stats["runs"]


@contextlib.contextmanager
def pod(folder: Path, storage: Path) -> Iterator[tuple[str, str]]:
    """The guarded server of the recipe for Kubernetes, with its addresses; its disk is new, and goes with it."""
    deployment = next(yaml.safe_load_all((ROOT / "recipes" / "kubernetes" / "server.yaml").read_text()))
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    http, guard = free_port(), free_port()
    here = {"gs://your-bucket/mlflow": str(storage), "gs://your-bucket": str(storage.parent), "/data/": f"{folder}/"}
    here |= {"=5000": f"={http}", ":9095": f":{guard}"}
    arguments = container["args"]
    for old, new in here.items():
        assert any(old in one for one in arguments), old
        arguments = [one.replace(old, new) for one in arguments]
    env = environment(Path(sys.prefix)) | {one["name"]: one["value"] for one in container["env"]}
    folder.mkdir()
    env |= {"HOME": str(folder), "PYTHONPATH": str(ROOT / "src")}
    process = subprocess.Popen(["mlmeta", *arguments], env=env, cwd=folder)
    try:
        yield f"http://localhost:{http}", f"http://localhost:{guard}"
        process.terminate()
        assert process.wait(90) in {0, 143}
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(folder)


def answered(url: str, host: str = "") -> int:
    """The status of an answer; 0: there was none."""
    try:
        request = urllib.request.Request(url, headers={"Host": host} if host else {})
        with urllib.request.urlopen(request, timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


def test_the_guarded_server_loses_its_disk_and_nothing_else(tmp_path: Path) -> None:
    for turn in (1, 2):
        with pod(tmp_path / "data", tmp_path / "backups") as (server, guard):
            deadline = time.monotonic() + 200
            while answered(f"{guard}/readyz") != 200:
                assert time.monotonic() < deadline
                time.sleep(0.2)
            assert answered(f"{guard}/healthz") == answered(f"{server}/health", "10.0.0.7:5000") == 200
            search = "/api/2.0/mlflow/experiments/get?experiment_id=0"
            assert answered(server + search, "mlflow:5000") == 200, "the name of the Service"
            client = MlflowClient(server)
            assert len(client.search_experiments()) == turn
            client.create_experiment(f"experiment {turn}")


def test_the_action_installs_what_it_runs(databases: Databases, tmp_path: Path) -> None:
    given = {"tracking-uri": databases.uri("filled"), "storage": tmp_path / "backups", "extras": "postgresql"}
    done = use(tmp_path, given, QUICKER, install=True)
    assert done.code == 0, done.log
    assert (tmp_path / "runner" / "mlmeta" / "bin" / "mlmeta").exists()
