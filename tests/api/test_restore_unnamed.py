"""Runs without a name, as MLflow before 1.30 made them: a server makes one up, which is no difference."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlmeta import restore
from tests.builders import snapshots as made
from tests.support.server import Server


@pytest.mark.parametrize("name", [None, ""])
def test_a_run_without_a_name(server: Server, tmp_path: Path, name: str | None) -> None:
    made.write(tmp_path, [made.experiment(), made.run(run_name=name, tags={})])
    for created in ({"experiments": 1, "runs": 1}, {}):
        planned = restore(server.uri, "latest", str(tmp_path), dry_run=True)
        done = restore(server.uri, "latest", str(tmp_path))
        assert planned.plan is not None
        assert (planned.exit_code, done.exit_code) == (0, 0), done.issues
        assert planned.plan.create == done.created == created
