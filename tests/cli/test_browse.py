"""A snapshot in MLflow's own UI, looked at by a real browser."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from mlflow import MlflowClient

from tests.support.server import free_port

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--virtual-time-budget=20000"),
)


def mlmeta(*words: str, cwd: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "mlmeta", *words]
    return subprocess.Popen(command, cwd=cwd, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def await_answer(uri: str, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline and process.poll() is None:
        try:
            urllib.request.urlopen(f"{uri}/health", timeout=5).close()
        except OSError:
            time.sleep(0.2)
        else:
            return
    raise AssertionError(f"the UI did not start: {process.communicate()[0] if process.poll() is not None else ''}")


def page(uri: str, profile: Path) -> str:
    """The page's text after its scripts have run; asked for again while they are slow."""
    for _ in range(4):
        command = [str(BROWSER), *FLAGS, f"--user-data-dir={profile}", "--dump-dom", uri]
        shown = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False).stdout
        if "matching run" in shown:
            break
    return shown


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A folder with a snapshot of a store that has a run."""
    uri = f"sqlite:///{tmp_path / 'lost.db'}"
    client = MlflowClient(uri)
    run = client.create_run(client.create_experiment("churn", "gs://bucket/1"), run_name="a run that was lost")
    client.log_metric(run.info.run_id, "loss", 0.25)
    client.set_terminated(run.info.run_id)
    process = mlmeta("backup", "--tracking-uri", uri, cwd=tmp_path)
    assert process.wait() == 0, process.communicate()[0]
    (tmp_path / "lost.db").unlink()
    return tmp_path


@pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine")
def test_the_runs_page_shows_a_restored_run(store: Path) -> None:
    port = free_port()
    uri = f"http://127.0.0.1:{port}"
    process = mlmeta("browse", "--no-browser", "--port", str(port), cwd=store)
    try:
        await_answer(uri, process)
        assert "a run that was lost" in page(f"{uri}/#/experiments/1/runs", store / "profile")
    finally:
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=30)[0]
    assert process.returncode == 0, said
    assert "is removed" in said
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(f"{uri}/health", timeout=5)
