"""Big PostgreSQL stores are read over several connections, as of one moment."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from mlmeta.errors import ConnectionFailedError
from mlmeta.schema import Experiment, LatestMetric, Line, MetricHistory, Record, Run, Skipped
from mlmeta.snapshot.reader import Snapshot
from mlmeta.stores.sql import parallel_reads
from mlmeta.stores.sql.exporter import SqlSource
from mlmeta.stores.sql.restorer import SqlTarget
from tests.builders.snapshots import snapshot_of
from tests.sql.helpers import ALL, QUIET, assert_proven, backup, digests, proof_of

RUNS = 1_300


def records() -> Iterator[Record]:
    yield Experiment(experiment_id="1", name="e")
    for number in range(RUNS):
        points = {7: 120_000, 8: 60_000, 700: 3}.get(number, number % 150 + 1)
        latest = LatestMetric(value=0.5, step=points - 1, timestamp=points)
        metrics = {"loss": latest} if number % 3 else {}
        yield Run(run_id=f"{number:032}", experiment_id="1", status="FINISHED", start_time=number, metrics=metrics)
        for start in range(0, points if metrics and points > 1 else 0, 10_000):
            steps = list(range(start, min(start + 10_000, points)))
            times, values = [step + 1 for step in steps], [float("nan") if step % 99 == 5 else 0.5 for step in steps]
            yield MetricHistory(run_id=f"{number:032}", key="loss", step=steps, timestamp=times, value=values)


def to_line(item: Line | Skipped) -> bytes:
    assert not isinstance(item, Skipped)
    return item.to_line()


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    return snapshot_of(records(), tmp_path_factory.mktemp("lanes"))


@pytest.fixture(scope="module")
def uri(snapshot: Snapshot, postgres: Callable[[], str]) -> str:
    """A store that is big enough. Not to be changed."""
    uri = postgres()
    SqlTarget(uri).restore(snapshot, ALL, QUIET)
    return uri


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What came of each further connection."""
    said: list[str] = []
    real = parallel_reads._opened

    def counted(*arguments: object) -> object:
        said.append("refused")
        found = real(*arguments)  # type: ignore[arg-type]
        said[-1] = "opened"
        return found

    monkeypatch.setattr(parallel_reads, "_opened", counted)
    return said


def execute(uri: str, *statements: str) -> None:
    with sa.create_engine(uri, poolclass=sa.NullPool).begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


def test_all_is_read_in_order(uri: str, snapshot: Snapshot, tmp_path: Path, opened: list[str]) -> None:
    assert digests(backup(uri, tmp_path)) == digests(snapshot)
    assert opened == ["opened"] * parallel_reads.LANES


def test_all_connections_see_one_moment(
    snapshot: Snapshot, postgres: Callable[[], str], tmp_path: Path, opened: list[str]
) -> None:
    uri = postgres()
    SqlTarget(uri).restore(snapshot, ALL, QUIET)
    reading = SqlSource(uri).read(ALL, QUIET)
    found = [next(reading)]
    execute(uri, "DELETE FROM metrics WHERE mod(step, 2) = 0", "UPDATE runs SET name = 'changed'")
    found.extend(reading)
    assert opened == ["opened"] * parallel_reads.LANES
    assert digests(snapshot_of(found, tmp_path)) == digests(snapshot)
    assert digests(backup(uri, tmp_path / "now")) != digests(snapshot)


def test_a_proof_reads_side_by_side(uri: str, snapshot: Snapshot, opened: list[str]) -> None:
    assert_proven(uri, snapshot)
    assert opened == ["opened"] * parallel_reads.LANES


def test_a_proof_side_by_side_sees_each_difference(snapshot: Snapshot, postgres: Callable[[], str]) -> None:
    uri = postgres()
    SqlTarget(uri).restore(snapshot, ALL, QUIET)
    moved, cut, emptied, changed, gone = (f"{number:032}" for number in (7, 8, 40, 700, 1_000))
    execute(
        uri,
        f"UPDATE metrics SET value = 0.75 WHERE run_uuid = '{moved}' AND step = 119999",
        f"DELETE FROM metrics WHERE run_uuid = '{cut}' AND step = 59999",
        f"DELETE FROM metrics WHERE run_uuid = '{emptied}'",
        f"UPDATE runs SET status = 'KILLED' WHERE run_uuid = '{changed}'",
        *(f"DELETE FROM {table} WHERE run_uuid = '{gone}'" for table in ("metrics", "latest_metrics", "runs")),
    )
    found = proof_of(uri, snapshot)
    assert {(difference.id, difference.field) for difference in found.differences} == {
        (moved, "history of loss"),
        (cut, "history of loss"),
        (emptied, "history of loss"),
        (changed, "status"),
        (gone, ""),
    }
    assert found.compared["metric point"] - found.matching["metric point"] == 1 + 1 + 40


@pytest.mark.parametrize("refusal", ["ROLE lonely CONNECTION LIMIT 1", "export"])
def test_a_server_that_gives_no_further_connection(
    uri: str, snapshot: Snapshot, tmp_path: Path, opened: list[str], refusal: str
) -> None:
    """Slower, but the same."""
    execute(
        uri,
        "DROP OWNED BY lonely" if role_exists(uri) else "CREATE ROLE lonely LOGIN",
        "ALTER ROLE lonely CONNECTION LIMIT -1",
        "GRANT SELECT ON ALL TABLES IN SCHEMA public TO lonely",
        "GRANT EXECUTE ON FUNCTION pg_export_snapshot() TO PUBLIC",
        "REVOKE EXECUTE ON FUNCTION pg_export_snapshot() FROM PUBLIC" if refusal == "export" else f"ALTER {refusal}",
    )
    lonely = str(sa.make_url(uri).set(username="lonely").render_as_string(hide_password=False))
    try:
        assert digests(backup(lonely, tmp_path)) == digests(snapshot)
    finally:
        execute(uri, "GRANT EXECUTE ON FUNCTION pg_export_snapshot() TO PUBLIC")
    assert opened == ([] if refusal == "export" else ["refused"])


def role_exists(uri: str) -> bool:
    with sa.create_engine(uri, poolclass=sa.NullPool).connect() as connection:
        return bool(connection.exec_driver_sql("SELECT count(*) FROM pg_roles WHERE rolname = 'lonely'").scalar())


def test_a_reader_who_stops_leaves_nothing(uri: str) -> None:
    reading = SqlSource(uri).read(ALL, QUIET)
    for _ in range(700):
        next(reading)
    reading.close()  # type: ignore[attr-defined]
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("mlmeta-")] == []
    with sa.create_engine(uri, poolclass=sa.NullPool).connect() as connection:
        query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        for _ in range(100):  # the server notices after a moment
            if (sessions := connection.exec_driver_sql(query).scalar()) == 1:
                break
            connection.exec_driver_sql("SELECT pg_stat_clear_snapshot(), pg_sleep(0.05)")
    assert sessions == 1


def test_connections_that_are_lost_are_an_error(uri: str) -> None:
    reading = SqlSource(uri).read(ALL, QUIET)
    for _ in range(100):
        next(reading)
    execute(
        uri,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()",
    )
    with pytest.raises(ConnectionFailedError):
        list(reading)
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("mlmeta-")] == []
