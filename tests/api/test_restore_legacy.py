"""Snapshots of the older script, restored into a server and into a database."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlmeta import restore
from mlmeta.errors import DamagedSnapshotError
from tests.builders import legacy
from tests.support import damage
from tests.support.databases import Databases
from tests.support.plain import plain, rows
from tests.support.server import Server


@pytest.mark.parametrize("nested", [False, True])
def test_into_a_server(server: Server, tmp_path: Path, nested: bool) -> None:
    legacy.write(tmp_path, nested=nested)
    result = restore(server.uri, "latest", str(tmp_path))
    assert (result.exit_code, result.issues) == (0, ())
    assert any("older script" in warning for warning in result.warnings)
    found = plain(server.backend)
    assert set(found["experiments"]) == {"Default", "old-churn", "old-empty"}
    second = found["runs"]["second"]
    assert second["tags"]["mlflow.parentRunId"] == "first"
    assert (second["user_id"], second["status"], second["params"]) == ("ada", "FINISHED", {"lr": "0.1"})
    assert set(second["metrics"]) == {"auc", "loss", "big"}
    assert "nan" in second["metrics"]["loss"]
    assert found["runs"]["first"]["status"] == "RUNNING"
    versions = found["models"]["old-model"]["versions"]
    assert {number: (v["current_stage"], v["run"]) for number, v in versions.items()} == {
        1: ("None", None),
        3: ("Production", "second"),
    }
    once = rows(server.database)
    assert restore(server.uri, "latest", str(tmp_path)).exit_code == 0
    assert rows(server.database) == once


def test_into_a_database_with_its_ids(databases: Databases, tmp_path: Path) -> None:
    legacy.write(tmp_path / "old")
    uri = databases.copy("empty", tmp_path / "new.db")
    result = restore(uri, "latest", str(tmp_path / "old"))
    assert (result.exit_code, result.issues) == (0, ())
    assert set(plain(uri)["runs"]) == {"first", "second"}
    assert "a" * 32 in {row[0] for row in rows(tmp_path / "new.db")["runs"]}


@pytest.mark.parametrize("kind", ["experiments", "runs", "models"])
@pytest.mark.parametrize("how", ["deleted", "cut in the middle", "not JSON"])
def test_a_damaged_one_writes_nothing(server: Server, tmp_path: Path, kind: str, how: str) -> None:
    place = legacy.write(tmp_path)
    damage.NAMED[how](place / f"{kind}_{legacy.TIMESTAMP}.json")
    before = rows(server.database)
    with pytest.raises(DamagedSnapshotError):
        restore(server.uri, "latest", str(tmp_path))
    assert rows(server.database) == before
