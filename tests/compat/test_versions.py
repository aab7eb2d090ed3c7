"""One client and servers of other MLflow versions: what they hold is saved, what they lack is no problem.

`make test-compat` makes the environments of all versions and runs this file. Elsewhere a version without an environment
is skipped, by name.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from mlflow.store.db.utils import _upgrade_db

import mlmeta
from mlmeta.errors import ExitCode
from mlmeta.schema import KINDS
from mlmeta.snapshot.compare import Change
from tests.compat.conftest import Version
from tests.compat.environments import CURRENT

pytestmark = pytest.mark.slow  # starts servers

HOLDS = {"experiments": 4, "runs": 5, "models": 3, "model_versions": 4}
"""What every version is filled with."""


TRACE_TABLES = (
    *("trace_info", "trace_tags", "trace_request_metadata", "spans", "assessments", "trace_metrics", "span_metrics"),
)
FROM_CONTENT = ("model_name", "model_provider", "input_cost", "output_cost", "total_cost")


def expected(version: Version) -> dict[str, int]:
    return HOLDS | ({"logged_models": 2, "metric_points": 26} if version.number > (3,) else {"metric_points": 25})


def untaken(version: Version) -> set[str]:
    """Kinds that a version's server may have, and takes by no call that keeps all of them."""
    return {"trace"} if version.number < (3, 5) or version.number >= (3, 18) else set()


def lacking(version: Version) -> set[str]:
    """Kinds of the current version that a version does not have."""
    logged = {"logged model"} if version.number < (3,) else set()
    return logged | ({"evaluation dataset", "dataset records"} if version.number < (3, 5) else set())


def differences(storage: str, before: str, after: str) -> list[Change]:
    """What two snapshots tell differently, of the kinds that both routes can tell of."""
    first, second = (mlmeta.open_snapshot(storage, timestamp).summary.files for timestamp in (before, after))
    told = {KINDS[name].one for name in {*first} & {*second}} | {"model version"}
    return [change for change in mlmeta.diff(before, after, storage).comparison.changes if change.kind in told]


def table_rows(database: Path, table: str) -> list[dict[str, Any]]:
    """All but how often the server has written a trace; what is empty or JSON as a snapshot has it."""
    with closing(sqlite3.connect(database)) as db:
        names = [row[1] for row in db.execute(f"PRAGMA table_xinfo({table})") if row[1] != "db_payload_generation"]
        found = [dict(zip(names, row, strict=True)) for row in db.execute(f"SELECT {', '.join(names)} FROM {table}")]
    for row in found:
        if row.get("content"):
            row["content"] = json.loads(row["content"])
    return sorted(({name: row[name] or None for name in sorted(row)} for row in found), key=repr)


def without(row: dict[str, Any], *columns: str) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in columns}


def test_both_routes_save_the_same(version: Version) -> None:
    for timestamp in (version.through_server, version.from_database):
        stats = mlmeta.open_snapshot(version.storage, timestamp).summary.stats
        assert {name: stats.get(name, 0) for name in expected(version)} == expected(version)
    found = differences(version.storage, version.through_server, version.from_database)
    if version.number == (3, 5):  # it has spans in its database, and shows them by no call
        told = mlmeta.open_snapshot(version.storage, version.through_server).summary
        assert any("spans" in text for text in (*told.warnings, *(one.kind for one in told.skipped)))
        found = [change for change in found if (change.kind, change.field) != ("trace", "spans")]
    assert found == []


def test_what_a_version_lacks_is_not_spoken_of(version: Version) -> None:
    held = {"traces", "trace", "spans", "span"}
    if version.number >= (3, 5):
        held |= {"evaluation datasets", "assessments of traces", "links of traces, runs and datasets"}
    for timestamp in (version.through_server, version.from_database):
        skipped = mlmeta.open_snapshot(version.storage, timestamp).summary.skipped
        assert {one.kind for one in skipped} <= held
        assert not [one for one in skipped if "unknown whether" in one.reason]


def test_into_a_current_database_and_back(version: Version, tmp_path: Path) -> None:
    """The restore proves itself; what was saved again is what was saved."""
    database = f"sqlite:///{tmp_path / 'new.db'}"
    for timestamp in (version.from_database, version.through_server):  # the second finds all there
        done = mlmeta.restore(database, timestamp, version.storage)
        assert [issue.message for issue in done.issues] == []
    assert done.exit_code == ExitCode.DONE
    assert not any(done.created.values())
    again = mlmeta.backup(database, version.storage).timestamp
    assert differences(version.storage, version.from_database, again) == []


def test_traces_are_those_of_an_upgraded_database(version: Version, tmp_path: Path) -> None:
    """What MLflow keeps in columns and tables of its newest schema is what `mlflow db upgrade` makes of the old one."""
    mlmeta.restore(f"sqlite:///{tmp_path / 'new.db'}", version.from_database, version.storage)
    shutil.copy(version.folder / "filled.db", tmp_path / "upgraded.db")
    if version.number < tuple(map(int, CURRENT.split("."))):
        _upgrade_db(sa.create_engine(f"sqlite:///{tmp_path / 'upgraded.db'}", poolclass=sa.NullPool))
    for table in TRACE_TABLES:
        restored, upgraded = (table_rows(tmp_path / f"{name}.db", table) for name in ("new", "upgraded"))
        if table == "spans" and version.number < (3, 10):  # the migration leaves these empty, in spite of the content
            assert all(row["model_name"] for row in restored if row["name"] == "model")
            restored, upgraded = ([without(row, *FROM_CONTENT) for row in rows] for rows in (restored, upgraded))
        assert restored == upgraded


@pytest.mark.parametrize("route", ["through_server", "from_database"])
def test_into_a_server_of_the_same_version(version: Version, route: str) -> None:
    done = mlmeta.restore(version.emptied().uri, getattr(version, route), version.storage)
    assert {refusal.kind for refusal in done.refused} <= untaken(version)
    assert done.exit_code == (ExitCode.INCOMPLETE if done.refused else ExitCode.DONE), done.issues


@pytest.mark.parametrize("route", ["through_server", "from_database"])
def test_from_a_current_store_into_an_older_server(
    version: Version, request: pytest.FixtureRequest, route: str, tmp_path: Path
) -> None:
    """It keeps what it can hold. What it can't is named, by the plan as by the restore."""
    if version.name == CURRENT:
        pytest.skip("it is the current one")
    current = request.getfixturevalue("current")
    server, timestamp = version.emptied(), getattr(current, route)
    planned = mlmeta.restore(server.uri, timestamp, current.storage, dry_run=True)
    done = mlmeta.restore(server.uri, timestamp, current.storage)
    assert [issue.message for issue in planned.issues] == [issue.message for issue in done.issues]
    assert planned.exit_code == done.exit_code
    lacks = lacking(version)
    assert lacks <= {refusal.kind for refusal in done.refused} <= lacks | untaken(version)
    assert done.exit_code == (ExitCode.INCOMPLETE if done.refused else ExitCode.DONE)
    stats = mlmeta.backup(server.uri, str(tmp_path)).stats
    kept = {
        name: count for name, count in expected(current).items() if name != "logged_models" or version.number > (3,)
    }
    assert {name: stats.get(name, 0) for name in kept} == kept
