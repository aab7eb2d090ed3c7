"""One client and servers of other MLflow versions: what they hold is saved, what they lack is no problem.

`make test-compat` makes the environments of all versions and runs this file. Elsewhere a version without an environment
is skipped, by name.
"""

from __future__ import annotations

from pathlib import Path

import pytest

import mlmeta
from mlmeta.errors import ExitCode
from mlmeta.schema import KINDS
from mlmeta.snapshot.compare import Change
from tests.compat.conftest import Version

pytestmark = pytest.mark.slow  # starts servers

HOLDS = {"experiments": 4, "runs": 5, "models": 3, "model_versions": 4}
"""What every version is filled with."""


def expected(version: Version) -> dict[str, int]:
    return HOLDS | ({"logged_models": 2, "metric_points": 26} if version.number > (3,) else {"metric_points": 25})


def untaken(version: Version) -> set[str]:
    """Kinds that a version's server may have, and takes by no call that keeps them."""
    return {"trace"} if version.number < (3, 5) else set()


def differences(storage: str, before: str, after: str) -> list[Change]:
    """What two snapshots tell differently, of the kinds that both routes can tell of."""
    first, second = (mlmeta.open_snapshot(storage, timestamp).summary.files for timestamp in (before, after))
    told = {KINDS[name].one for name in {*first} & {*second}} | {"model version"}
    return [change for change in mlmeta.diff(before, after, storage).comparison.changes if change.kind in told]


def test_both_routes_save_the_same(version: Version) -> None:
    for timestamp in (version.through_server, version.from_database):
        stats = mlmeta.open_snapshot(version.storage, timestamp).summary.stats
        assert {name: stats.get(name, 0) for name in expected(version)} == expected(version)
    assert differences(version.storage, version.through_server, version.from_database) == []


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
        assert (done.exit_code, done.issues) == (ExitCode.DONE, ())
    assert not any(done.created.values())
    again = mlmeta.backup(database, version.storage).timestamp
    assert differences(version.storage, version.from_database, again) == []


@pytest.mark.parametrize("route", ["through_server", "from_database"])
def test_into_a_server_of_the_same_version(version: Version, route: str) -> None:
    done = mlmeta.restore(version.emptied().uri, getattr(version, route), version.storage)
    assert {refusal.kind for refusal in done.refused} <= untaken(version)
    assert done.exit_code == (ExitCode.INCOMPLETE if done.refused else ExitCode.DONE), done.issues


@pytest.mark.parametrize("route", ["through_server", "from_database"])
def test_from_a_current_store_into_an_older_server(
    version: Version, current: Version, route: str, tmp_path: Path
) -> None:
    """It keeps what it can hold. What it can't is named, by the plan as by the restore."""
    server, timestamp = version.emptied(), getattr(current, route)
    planned = mlmeta.restore(server.uri, timestamp, current.storage, dry_run=True)
    done = mlmeta.restore(server.uri, timestamp, current.storage)
    assert planned.exit_code == done.exit_code
    assert [issue.message for issue in planned.issues] == [issue.message for issue in done.issues]
    lacks = {"logged model"} if version.number < (3,) else set()
    assert lacks <= {refusal.kind for refusal in done.refused} <= lacks | untaken(version)
    assert done.exit_code == (ExitCode.INCOMPLETE if done.refused else ExitCode.DONE)
    stats = mlmeta.backup(server.uri, str(tmp_path)).stats
    kept = {name: count for name, count in expected(current).items() if name != "logged_models" or not lacks}
    assert {name: stats.get(name, 0) for name in kept} == kept
