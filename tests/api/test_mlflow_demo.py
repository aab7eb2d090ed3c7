"""What `mlflow demo` makes: traces, assessments, prompts, evaluation datasets, scorers, review queues.

It goes through every route, and is seen in the UI of what came back.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mlmeta.errors import ExitCode
from tests.support.cli import Cli
from tests.support.server import Server, server

pytestmark = pytest.mark.xdist_group("mlflow demo")

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--virtual-time-budget=20000"),
)
MAKE = """
import sys, mlflow
from mlflow.demo import demo_registry, generate_all_demos
from mlflow.genai.datasets import create_dataset
mlflow.set_tracking_uri(sys.argv[1])
names = [name for name in demo_registry.list_generators() if name != "evaluation"]
generate_all_demos(features=names)
dataset = create_dataset(name="questions", experiment_id=["1"], tags={"team": "a"})
dataset.merge_records([{"inputs": {"q": str(n)}, "expectations": {"a": n}} for n in range(3)])
"""
"""The runs of its evaluations take as long as all the rest: a dataset of our own stands for theirs."""
THROUGH_SERVER = ("experiments", "runs", "metrics", "spans", "evaluation_datasets", "dataset_records")
"""The kinds of which a server shows all that its database has."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server on such a store."""
    folder = tmp_path_factory.mktemp("demo")
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    subprocess.run([sys.executable, "-c", MAKE, uri], cwd=folder, check=True, capture_output=True, timeout=300)
    with server(folder, uvicorn=True) as running:
        yield running


@pytest.fixture(scope="module")
def folders(made: Server) -> dict[str, Path]:
    """Its snapshots, from its database and through itself."""
    cli = Cli(made.folder)
    cli("backup", "--tracking-uri", made.backend, "--storage", "from-database", "--json").ok()
    done = cli("backup", "--tracking-uri", made.uri, "--storage", "from-server", "--json").ended(ExitCode.INCOMPLETE)
    assert {one["kind"] for one in done.data["skipped"]} == {"scorers", "review queues"}
    return {"database": made.folder / "from-database", "server": made.folder / "from-server"}


def contents(folder: Path) -> dict[str, str]:
    """The SHA-256 of a snapshot's files by kind."""
    (path,) = folder.glob("backup_summary_*")
    return {kind: entry["sha256"] for kind, entry in json.loads(path.read_text())["files"].items()}


def traces(folder: Path) -> list[dict[str, Any]]:
    """A snapshot's traces, without what MLflow's API does not show: which run an issue was found by."""
    (path,) = folder.glob("traces_*")
    found: list[dict[str, Any]] = json.loads(path.read_text())
    for assessment in (one for trace in found for one in trace["assessments"] if one["type"] == "issue"):
        assessment.pop("run_id")
    return found


def test_a_server_and_its_database_give_the_same_bytes(folders: dict[str, Path]) -> None:
    database, through = contents(folders["database"]), contents(folders["server"])
    assert {kind: database[kind] for kind in THROUGH_SERVER} == {kind: through[kind] for kind in THROUGH_SERVER}
    assert database.keys() - through.keys() == {"rows"}
    assert traces(folders["database"]) == traces(folders["server"])


def test_a_database_gets_all_of_it(folders: dict[str, Path], cli: Cli) -> None:
    storage = ("--storage", str(folders["database"]))
    done = cli("restore", "--timestamp", "latest", *storage, "--tracking-uri", "sqlite:///new.db", "--json").ok()
    assert all(done.data["created"].get(kind) for kind in ("traces", "evaluation datasets", "models", "rows"))
    cli("backup", "--tracking-uri", "sqlite:///new.db", "--json").ok()
    assert contents(cli.folder / "backups") == contents(folders["database"])


@pytest.fixture(scope="module")
def restored(folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Another server, into which the first one's snapshot was restored through MLflow's API."""
    with server(tmp_path_factory.mktemp("restored"), uvicorn=True) as running:
        storage = ("--storage", str(folders["server"]), "--tracking-uri", running.uri)
        done = Cli(running.folder)("restore", "--timestamp", "latest", *storage, "--json").ok()
        compared = done.data["comparison"]
        assert compared["compared"] == compared["matching"]
        assert compared["compared"]["span"] > compared["compared"]["trace"] > 0
        yield running


def a_trace(folder: Path) -> tuple[str, list[str]]:
    """The id of a trace, and the names of its spans."""
    (path,) = folder.glob("spans_*")
    spans: list[dict[str, Any]] = json.loads(path.read_text())
    trace_id = spans[0]["trace_id"]
    return trace_id, [span["content"]["name"] for span in spans if span["trace_id"] == trace_id]


def page(uri: str, words: list[str], profile: Path) -> list[str]:
    """The words that a page does not show after its scripts have run; asked for again while they are slow."""
    for _ in range(4):
        command = [str(BROWSER), *FLAGS, f"--user-data-dir={profile}", "--dump-dom", uri]
        shown = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False).stdout
        missing = [word for word in words if word not in shown]
        if not missing:
            break
    return missing


@pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine")
def test_the_ui_shows_what_came_back(folders: dict[str, Path], restored: Server, tmp_path: Path) -> None:
    trace_id, spans = a_trace(folders["server"])
    pages = {
        f"experiments/1/traces?selectedEvaluationId={trace_id}": spans,
        "prompts": ["mlflow-demo.prompts.code-reviewer", "Version 4"],
        "experiments/1/datasets": ["questions"],
    }
    missing = {path: page(f"{restored.uri}/#/{path}", words, tmp_path / "profile") for path, words in pages.items()}
    assert missing == {path: [] for path in pages}
