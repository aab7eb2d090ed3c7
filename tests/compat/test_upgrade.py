"""Rows of an older store are what `mlflow db upgrade` makes of them, with that version and the newer one themselves."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.compat.conftest import HERE
from tests.compat.environments import ROOT, python_of

pytestmark = pytest.mark.slow


def run(version: str, *arguments: Path | str) -> None:
    """Run `upgraded.py` by the interpreter of a version."""
    python = python_of(version)
    if python is None:
        pytest.skip(f"no environment of MLflow {version}: `make test-compat` makes it")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "src")))}
    command = [str(python), str(HERE / "upgraded.py"), *map(str, arguments)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("older", "newer"), [("3.5", "3.17"), ("3.10", "3.17"), ("3.17", "3.18"), ("3.5", "3.18"), ("3.10", "3.18")]
)
def test_the_outcome_is_that_of_mlflow_db_upgrade(older: str, newer: str, tmp_path: Path) -> None:
    run(older, "make", tmp_path / "store.db")
    run(newer, "compare", tmp_path / "store.db", tmp_path)
    before, ours, mlflows = (
        json.loads((tmp_path / f"{name}.json").read_text()) for name in ("before", "mlmeta", "mlflow")
    )
    assert ours == mlflows != before
    assert {"webhooks", "scorer_versions"} <= {row["table"] for row in ours}
    if (older, newer) == ("3.17", "3.18"):
        assert "issue_categories" in {row["table"] for row in ours} - {row["table"] for row in before}
