"""What goes to stdout and stderr, for people and for machines."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.cli import Cli
from tests.support.databases import Databases

KEYS = {"mlmeta_version", "schema", "command", "status", "exit_code", "data", "warnings", "errors"}
STATS = {"experiments", "runs", "models", "model_versions", "metric_points"}


@pytest.fixture
def store(databases: Databases, tmp_path: Path) -> str:
    return databases.copy("filled", tmp_path / "source.db")


def _document(cli: Cli, *arguments: str, code: int = 0) -> dict[str, Any]:
    done = cli(*arguments, "--json").ended(code)
    found = done.document
    assert set(found) >= KEYS
    assert found["command"] == arguments[0]
    assert found["exit_code"] == code
    assert found["schema"] == 1
    return found


def test_backup(cli: Cli, store: str) -> None:
    found = _document(cli, "backup", "--tracking-uri", store)
    assert found["status"] == "success"
    data = found["data"]
    assert set(data) >= {"timestamp", "source", "storages", "stats", "files", "size", "seconds", "skipped", "dry_run"}
    assert set(data["stats"]) >= STATS
    assert all(set(entry) >= {"name", "bytes", "records", "sha256"} for entry in data["files"].values())


def test_list(cli: Cli, snapshots: Path) -> None:
    data = _document(cli, "list")["data"]
    assert set(data) >= {"storage", "snapshots"}
    row = data["snapshots"][0]
    assert set(row) >= {"timestamp", "state", "source", "stats", "size", "age", "problem"}


def test_show(cli: Cli, snapshots: Path, databases: Databases) -> None:
    data = _document(cli, "show")["data"]
    assert set(data) >= {"timestamp", "storage", "source", "source_kind", "date", "schema_version", "stats", "size"}
    assert data["size"] == sum(file.stat().st_size for file in snapshots.glob(f"*_{data['timestamp']}.json*"))
    assert set(data["experiments"][0]) >= {"experiment", "runs", "deleted_runs", "latest"}
    data = _document(cli, "show", "--experiment", "churn")["data"]
    assert set(data) >= {"experiment", "columns", "run_ids", "rows", "total"}
    data = _document(cli, "show", "--run", databases.content.runs["odd"])["data"]
    assert set(data) >= {"run", "experiment", "points"}
    assert set(data["run"]) >= {"run_id", "experiment_id", "status", "params", "metrics", "tags", "dataset_inputs"}
    data = _document(cli, "show", "--models")["data"]
    assert set(data["models"][0]) >= {"name", "description", "tags", "aliases", "versions"}


def test_verify(cli: Cli, snapshots: Path) -> None:
    data = _document(cli, "verify")["data"]
    assert set(data) >= {"storage", "quick", "snapshots"}
    assert set(data["snapshots"][0]) >= {"timestamp", "legacy", "records", "problems"}


def test_restore(cli: Cli, snapshots: Path, databases: Databases, tmp_path: Path) -> None:
    target = databases.copy("empty", tmp_path / "target.db")
    data = _document(cli, "restore", "--timestamp", "latest", "--tracking-uri", target, "--ids", "new")["data"]
    assert set(data) >= {
        *("timestamp", "storage", "target", "keeps_ids", "plan", "created", "present", "refused", "comparison"),
        *("seconds", "dry_run"),
    }
    assert set(data["plan"]) >= {"target", "keeps_ids", "create", "present", "target_runs", "conflicts", "notes"}
    assert set(data["comparison"]) >= {"compared", "matching", "differences", "total", "unkept"}


@pytest.mark.parametrize(
    ("arguments", "code", "word"),
    [
        (("backup",), 2, "usage"),
        (("backup", "--tracking-uri", "sqlite:///none.db"), 1, "missing_store"),
        (("backup", "--tracking-uri", "http://127.0.0.1:9"), 1, "unreachable"),
        (("backup", "--tracking-uri", "http://127.0.0.1:9", "--storage", "s3://x"), 2, "usage"),
        (("list", "--storage", "nowhere"), 5, "storage_missing"),
        (("show", "19990101_000000"), 5, "snapshot_not_found"),
        (("show", "yesterday"), 2, "usage"),
        (("verify", "19990101_000000"), 5, "snapshot_not_found"),
        (("restore", "--timestamp", "19990101_000000", "--tracking-uri", "sqlite:///t.db"), 5, "snapshot_not_found"),
    ],
)
def test_errors(cli: Cli, snapshots: Path, arguments: tuple[str, ...], code: int, word: str) -> None:
    """An error is a document too, and on stderr two lines: what happened, what to do."""
    found = _document(cli, *arguments, code=code)
    assert found["status"] == "error"
    assert found["data"] is None
    (error,) = found["errors"]
    assert set(error) >= {"code", "message", "hint"}
    assert error["code"] == word
    assert error["message"]
    assert error["hint"]
    shown = cli(*arguments, "--quiet").ended(code)
    assert shown.out == ""
    first, second, *rest = shown.err.splitlines()
    assert first.startswith("error: ")
    assert second.startswith("  ")
    assert rest == []
    assert {path.name for path in cli.folder.iterdir() if not path.name.startswith(".")} == {"backups"}


def test_wrong_options_are_2(cli: Cli) -> None:
    assert cli("backup", "--no-such-option").code == 2
    assert cli("no-such-command").code == 2
    assert cli("restore").code == 2


def test_verbose_shows_the_traceback(cli: Cli) -> None:
    done = cli("backup", "--tracking-uri", "sqlite:///none.db", "--verbose")
    assert done.code == 1
    assert "Traceback" in done.err
    assert "Traceback" not in cli("backup", "--tracking-uri", "sqlite:///none.db").err


def test_quiet_says_nothing_when_all_is_well(cli: Cli, store: str) -> None:
    done = cli("backup", "--tracking-uri", store, "--quiet").ok()
    assert (done.out, done.err) == ("", "")


def test_results_on_stdout_and_progress_on_stderr(cli: Cli, store: str) -> None:
    done = cli("backup", "--tracking-uri", store).ok()
    assert "reading" in done.err
    assert "reading" not in done.out
    assert "8 runs" in done.out
    assert "\x1b" not in done.out + done.err
    assert cli("backup", "--tracking-uri", store, "--no-progress").ok().err == ""


def test_variables_instead_of_options(cli: Cli, store: str) -> None:
    cli("backup", env={"MLFLOW_TRACKING_URI": store, "MLMETA_STORAGE": "elsewhere"}).ok()
    assert len(cli("list", env={"MLMETA_STORAGE": "elsewhere", "MLMETA_JSON": "1"}).ok().data["snapshots"]) == 1
    done = cli("backup", env={"MLFLOW_TRACKING_URI": "sqlite:///none.db", "MLMETA_TRACKING_URI": store})
    done.ok()


def test_a_reader_that_has_seen_enough(cli: Cli, snapshots: Path) -> None:
    """`mlmeta list | head -1`: no traceback, and the line."""
    for name in range(400):
        (snapshots / f"runs_20200101_{name:06}.json").write_text("")
    for arguments in ("list", "list --json", "show"):
        command = f"{sys.executable} -m mlmeta {arguments} | head -1"
        done = subprocess.run(command, shell=True, cwd=cli.folder, capture_output=True, text=True, check=False)
        assert done.stdout.count("\n") == 1
        assert done.stderr == ""


def test_a_reader_that_goes_early_changes_no_exit_code(cli: Cli, snapshots: Path) -> None:
    next(snapshots.glob("runs_*")).unlink()
    done = cli("verify", before=_without_a_reader)
    assert done.code == 4
    assert "Traceback" not in done.err


def _without_a_reader() -> None:
    """Give stdout to a pipe that nobody reads any more."""
    reading, writing = os.pipe()
    os.close(reading)
    os.dup2(writing, 1)
    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115 - for the life of the process


def test_a_closed_stdout_is_no_traceback(cli: Cli, snapshots: Path) -> None:
    command = f"{sys.executable} -m mlmeta list >&-"
    done = subprocess.run(command, shell=True, cwd=cli.folder, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr
