"""Writing into a database that may hold something already."""

from __future__ import annotations

import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa
from mlflow import MlflowClient

from mlmeta.errors import ConflictError, IncompatibleStoreError, RestoreError, UsageError
from mlmeta.schema import (
    RUNS,
    Experiment,
    LatestMetric,
    MetricHistory,
    ModelVersion,
    RegisteredModel,
    Run,
    Selection,
)
from mlmeta.snapshot.reader import Snapshot
from mlmeta.stores.sql import schema
from mlmeta.stores.sql.database import parse
from mlmeta.stores.sql.restorer import SqlTarget
from mlmeta.stores.sql.schema import create_schema, make_schema
from mlmeta.stores.sql.writing import writing
from mlmeta.stores.target import RestoreOptions
from tests.builders.snapshots import snapshot_of
from tests.sql.helpers import (
    ALL,
    QUIET,
    assert_proven,
    backup,
    digests,
    dump,
    lines,
    proof_of,
    records_of,
    tables,
    without_what_the_api_hides,
)


@pytest.fixture
def snapshot(filled: Path, tmp_path: Path) -> Snapshot:
    return backup(f"sqlite:///{filled}", tmp_path / "snapshot")


@pytest.fixture
def empty(blank: Path, tmp_path: Path) -> str:
    """The URI of a database with a schema and no row."""
    return f"sqlite:///{shutil.copy(blank, tmp_path / 'target.db')}"


def path_of(uri: str) -> Path:
    return Path(uri.removeprefix("sqlite:///"))


def test_restored_twice_is_restored_once(snapshot: Snapshot, empty: str) -> None:
    target = SqlTarget(empty)
    first = target.restore(snapshot, ALL, QUIET)
    before = dump(path_of(empty))
    plan = target.plan(snapshot, ALL, QUIET)
    assert (plan.create, plan.conflicts, plan.target_runs) == ({}, (), False)
    assert plan.present == first.created
    second = target.restore(snapshot, ALL, QUIET)
    assert (second.created, second.present, second.refused) == ({}, first.created, ())
    assert dump(path_of(empty)) == before


def test_a_plan_writes_nothing_and_says_what_a_restore_does(snapshot: Snapshot, tmp_path: Path, empty: str) -> None:
    nowhere = SqlTarget(f"sqlite:///{tmp_path}/new/x.db").plan(snapshot, ALL, QUIET)
    assert not (tmp_path / "new").exists()
    before = dump(path_of(empty))
    plan = SqlTarget(empty).plan(snapshot, ALL, QUIET)
    assert dump(path_of(empty)) == before
    assert nowhere.create == plan.create == SqlTarget(empty).restore(snapshot, ALL, QUIET).created
    assert plan.keeps_ids
    assert plan.target == empty


@pytest.mark.parametrize(
    "selection",
    [ALL, Selection(experiments=("Träume/夢 🚀",)), Selection(only=("models",)), Selection(without=("models",))],
)
def test_a_plan_that_reads_no_run_says_the_same(snapshot: Snapshot, tmp_path: Path, selection: Selection) -> None:
    target = SqlTarget(f"sqlite:///{tmp_path}/new.db")
    plan = target.plan(snapshot, selection, QUIET)
    rewriting = SqlTarget(f"sqlite:///{tmp_path}/new.db", RestoreOptions(rewrite=(("gs://none", "x"),)))
    with_all = rewriting.plan(snapshot, selection, QUIET)
    created = target.restore(snapshot, selection, QUIET).created
    assert Counter(plan.create) == Counter(with_all.create) == Counter(created)
    assert bool(created.get("runs")) == selection.means(RUNS)


def test_the_untouched_default_experiment_makes_room(snapshot: Snapshot, tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/server.db"
    MlflowClient(uri, uri).get_experiment("0")  # as a server does when it starts
    assert SqlTarget(uri).restore(snapshot, ALL, QUIET).created["experiments"] == 4
    assert digests(backup(uri, tmp_path / "b")) == digests(snapshot)


def test_a_default_experiment_in_use_stays_and_takes_the_runs(snapshot: Snapshot, tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/server.db"
    client = MlflowClient(uri, uri)
    own = client.create_run("0", start_time=4)
    location = client.get_experiment("0").artifact_location
    plan = SqlTarget(uri).plan(snapshot, ALL, QUIET)
    assert plan.target_runs
    assert not plan.conflicts
    assert any("Default" in note for note in plan.notes)
    SqlTarget(uri).restore(snapshot, ALL, QUIET)
    assert client.get_experiment("0").artifact_location == location
    assert [run.info.start_time for run in client.search_runs(["0"], order_by=["start_time"])] == [4, 9]
    assert client.get_run(own.info.run_id).info.start_time == 4


def _in_the_way(uri: str) -> None:
    """Other content under an id, a name, a run id and a model's name of the filled store."""
    with sqlite3.connect(path_of(uri)) as connection:
        connection.execute("INSERT INTO experiments VALUES (1, 'mine', 'x', 'active', 1, 1, 'default')")
        connection.execute("INSERT INTO experiments VALUES (9, 'deleted one', 'x', 'active', 1, 1, 'default')")
        connection.execute("INSERT INTO registered_models VALUES ('zeta', 1, 1, 'mine', 'default')")


def test_conflicts_are_named_and_nothing_is_written(snapshot: Snapshot, empty: str) -> None:
    _in_the_way(empty)
    before = dump(path_of(empty))
    plan = SqlTarget(empty).plan(snapshot, ALL, QUIET)
    assert {(c.kind, c.id) for c in plan.conflicts} == {
        ("experiment", "1"),
        ("experiment", "2"),
        ("runs", "of experiment 1"),
        ("runs", "of experiment 2"),
        ("model", "zeta"),
    }
    with pytest.raises(ConflictError, match="'mine'") as error:
        SqlTarget(empty).restore(snapshot, ALL, QUIET)
    assert "nothing was written" in str(error.value)
    assert dump(path_of(empty)) == before


def test_conflicts_can_be_skipped(snapshot: Snapshot, empty: str) -> None:
    _in_the_way(empty)
    report = SqlTarget(empty, RestoreOptions(on_conflict="skip")).restore(snapshot, ALL, QUIET)
    assert report.created == {"experiments": 2, "runs": 1, "models": 3, "model versions": 2}
    assert len(report.refused) == 5
    found = records_of(empty)
    assert [r.name for r in found if isinstance(r, Experiment)] == ["Default", "mine", "without a run", "deleted one"]
    assert next(r for r in found if isinstance(r, RegisteredModel) and r.name == "zeta").description == "mine"


def test_names_that_are_taken_can_be_changed(snapshot: Snapshot, empty: str) -> None:
    _in_the_way(empty)
    target = SqlTarget(empty, RestoreOptions(on_conflict="rename"))
    report = target.restore(snapshot, ALL, QUIET)
    assert {(c.kind, c.id) for c in report.refused} == {("experiment", "1"), ("runs", "of experiment 1")}
    suffix = f" (restored {snapshot.timestamp})"
    found = records_of(empty)
    assert next(r for r in found if isinstance(r, Experiment) and r.experiment_id == "2").name == "deleted one" + suffix
    assert "zeta" + suffix in [r.name for r in found if isinstance(r, RegisteredModel)]
    again = target.restore(snapshot, ALL, QUIET)
    assert not again.created
    assert proof_of(empty, snapshot, RestoreOptions(on_conflict="rename"), report).is_equal
    found_again = proof_of(empty, snapshot, RestoreOptions(on_conflict="rename"), again)
    assert found_again.is_equal
    assert found_again.unkept == (), "no version has what the database has no place for"
    assert (found_again.matching["experiment"], found_again.matching["registered model"]) == (3, 4)


def test_a_changed_run_is_a_conflict_and_stays(snapshot: Snapshot, empty: str) -> None:
    SqlTarget(empty).restore(snapshot, ALL, QUIET)
    changes = (
        "UPDATE runs SET start_time = 1001 WHERE start_time = 1000",
        "UPDATE params SET value = 'x' WHERE key = 'lr'",
        "UPDATE metrics SET value = 17 WHERE key = 'far' AND step < 0",
        "DELETE FROM metrics WHERE key = 'loss' AND step = 0",
        "DELETE FROM input_tags",
    )
    original = path_of(empty).read_bytes()
    for change in changes:
        with sqlite3.connect(path_of(empty)) as connection:
            assert connection.execute(change).rowcount > 0
        before = dump(path_of(empty))
        with pytest.raises(ConflictError, match="other content"):
            SqlTarget(empty).restore(snapshot, ALL, QUIET)
        report = SqlTarget(empty, RestoreOptions(on_conflict="skip")).restore(snapshot, ALL, QUIET)
        assert [c.kind for c in report.refused] == ["run"]
        assert dump(path_of(empty)) == before
        assert {difference.kind for difference in proof_of(empty, snapshot).differences} == {"run"}
        path_of(empty).write_bytes(original)


def test_read_back_shows_what_differs_and_what_is_missing(snapshot: Snapshot, filled: Path, empty: str) -> None:
    SqlTarget(empty).restore(snapshot, ALL, QUIET)
    with sqlite3.connect(path_of(empty)) as connection:
        connection.execute("UPDATE tags SET value = 'other' WHERE key = 'note'")
        connection.execute("DELETE FROM registered_models WHERE name = 'Zeta'")
        connection.execute("INSERT INTO experiments VALUES (50, 'not ours', 'x', 'active', 1, 1, 'default')")
        connection.execute("UPDATE metrics SET timestamp = 77 WHERE key = 'far' AND step < 0")
    found = [
        (difference.kind, difference.field, difference.found) for difference in proof_of(empty, snapshot).differences
    ]
    assert found[:1] == [("run", "tags[note]", "'other'")]
    assert found[1][:2] == ("run", "history of far")
    assert found[2:] == [("registered model", "", "it is not there")]


def test_artifact_locations_are_rewritten_at_path_borders(snapshot: Snapshot, empty: str) -> None:
    rewrite = (("gs://bucket", "s3://new/place"), ("gs://buck", "s3://wrong"), ("gs://none/", "x/"))
    target = SqlTarget(empty, RestoreOptions(rewrite=rewrite))
    plan = target.plan(snapshot, ALL, QUIET)
    assert "artifact locations are rewritten in 2 experiments, 5 runs, 3 model versions" in plan.notes
    assert "no artifact location begins with gs://buck" in plan.notes
    target.restore(snapshot, ALL, QUIET)
    client = MlflowClient(empty, empty)
    assert client.get_experiment("1").artifact_location == "s3://new/place/first"
    assert client.get_model_version("zeta", "1").source == "s3://new/place/m/1"
    assert client.get_model_version_download_uri("zeta", "1") == "s3://new/place/m/1"
    assert client.get_model_version("é model", "1").source == "gs://elsewhere/1"
    assert all(r.info.artifact_uri.startswith("s3://new/place/first/") for r in client.search_runs(["1"]))
    assert target.restore(snapshot, ALL, QUIET).created == {}


def test_a_selection(snapshot: Snapshot, empty: str) -> None:
    chosen = Selection(experiments=("Träume/夢 🚀",))
    report = SqlTarget(empty).restore(snapshot, chosen, QUIET)
    assert report.created == {"experiments": 1, "runs": 4, "models": 1, "model versions": 3}
    with pytest.raises(UsageError, match="'no such'"):
        SqlTarget(empty).plan(snapshot, Selection(experiments=("no such",)), QUIET)
    rest = SqlTarget(empty).restore(snapshot, ALL, QUIET)
    assert rest.created == {"experiments": 3, "runs": 2, "models": 3, "model versions": 2}
    models = SqlTarget(f"{empty}2").restore(snapshot, Selection(only=("models",)), QUIET)
    assert models.created == {"models": 4, "model versions": 5}


def test_another_schema_is_refused(snapshot: Snapshot, empty: str) -> None:
    with sqlite3.connect(path_of(empty)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'ffffffffffff'")
    before = dump(path_of(empty))
    for call in (SqlTarget(empty).plan, SqlTarget(empty).restore):
        with pytest.raises(IncompatibleStoreError, match="does not know"):
            call(snapshot, ALL, QUIET)
    assert dump(path_of(empty)) == before


def test_rows_under_mlflows_names_are_refused(snapshot: Snapshot, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "x.db") as connection:
        connection.execute("CREATE TABLE runs (id INTEGER)")
        connection.execute("INSERT INTO runs VALUES (1)")
    before = dump(tmp_path / "x.db")
    with pytest.raises(IncompatibleStoreError, match="`runs` with rows"):
        SqlTarget(f"sqlite:///{tmp_path}/x.db").restore(snapshot, ALL, QUIET)
    assert dump(tmp_path / "x.db") == before


def test_an_existing_file_without_a_table_gets_the_schema(snapshot: Snapshot, tmp_path: Path) -> None:
    (tmp_path / "x.db").touch()
    uri = f"sqlite:///{tmp_path}/x.db"
    assert SqlTarget(uri).restore(snapshot, ALL, QUIET).created["runs"] == 6
    assert digests(backup(uri, tmp_path / "b")) == digests(snapshot)


def test_postgresql_that_has_data_is_added_to(snapshot: Snapshot, tmp_path: Path, postgres: Callable[[], str]) -> None:
    uri = postgres()
    client = MlflowClient(uri, uri)
    for name in ("a", "b", "c", "d"):
        client.create_experiment(name)
    before = lines(records_of(uri))
    plan = SqlTarget(uri).plan(snapshot, ALL, QUIET)
    assert [c.id for c in plan.conflicts] == ["1", "2", "3", "of experiment 1", "of experiment 2"]
    with pytest.raises(ConflictError):
        SqlTarget(uri).restore(snapshot, ALL, QUIET)
    assert lines(records_of(uri)) == before
    SqlTarget(uri, RestoreOptions(on_conflict="skip")).restore(snapshot, ALL, QUIET)
    assert SqlTarget(uri, RestoreOptions(on_conflict="skip")).restore(snapshot, ALL, QUIET).created == {}
    assert client.create_experiment("e") == "5"


def test_ids_and_values_that_a_database_cannot_hold(tmp_path: Path, postgres: Callable[[], str]) -> None:
    huge = Experiment(experiment_id="123456789012345678", name="from a file store")
    snapshot = snapshot_of([huge, Run(run_id="r", experiment_id=huge.experiment_id, status="FINISHED")], tmp_path / "a")
    SqlTarget(f"sqlite:///{tmp_path}/x.db").restore(snapshot, ALL, QUIET)
    uri = postgres()
    with pytest.raises(ConflictError, match="can't hold its id"):
        SqlTarget(uri).restore(snapshot, ALL, QUIET)
    long = snapshot_of([Experiment(experiment_id="1", name="n" * 400)], tmp_path / "b")
    with pytest.raises(RestoreError, match=r"experiments\.name holds 256"):
        SqlTarget(uri).restore(long, ALL, QUIET)
    assert tables(uri) == []


def test_what_only_other_stores_have_is_stored_as_mlflow_would(tmp_path: Path, empty: str) -> None:
    """Infinities and -0.0 from a file store, and bare values of the script that mlmeta replaces."""
    history = MetricHistory(run_id="r", key="h", step=[0, 0, 1], timestamp=[0, 0, 0], value=[-0.0, 0.0, float("-inf")])
    run = Run(
        run_id="r",
        experiment_id="1",
        status="FINISHED",
        start_time=5,
        end_time=7,
        metrics={
            "bare": LatestMetric(value=0.5),
            "inf": LatestMetric(value=float("inf"), step=1, timestamp=2),
            "zero": LatestMetric(value=-0.0, step=1, timestamp=2),
            "h": LatestMetric(value=float("-inf"), step=1, timestamp=0),
        },
    )
    model = RegisteredModel(name="m", versions=(ModelVersion(version=3, source="models:/m-1", model_id="m-1"),))
    records = [Experiment(experiment_id="1", name="e"), run, history, model]
    snapshot = snapshot_of(records, tmp_path / "a")
    target = SqlTarget(empty)
    target.restore(snapshot, ALL, QUIET)
    client = MlflowClient(empty, empty)
    assert client.get_run("r").data.metrics == {
        "bare": 0.5,
        "inf": 1.7976931348623157e308,
        "zero": 0.0,
        "h": -1.7976931348623157e308,
    }
    assert [(m.step, m.timestamp) for m in client.get_metric_history("r", "bare")] == [(0, 7)]
    assert [m.value for m in client.get_metric_history("r", "h")] == [0.0, -1.7976931348623157e308]
    assert not target.restore(snapshot, ALL, QUIET).created
    assert_proven(empty, snapshot)
    assert client.search_runs(["1"])[0].info.user_id == ""
    assert client.get_model_version("m", "3").creation_timestamp == 0


def test_what_an_api_snapshot_cannot_know_is_no_conflict(filled: Path, store: Path, tmp_path: Path) -> None:
    snapshot = snapshot_of([without_what_the_api_hides(r) for r in records_of(f"sqlite:///{filled}")], tmp_path / "a")
    plan = SqlTarget(f"sqlite:///{store}").plan(snapshot, ALL, QUIET)
    assert (plan.create, plan.conflicts) == ({}, ())


def test_arguments_are_checked() -> None:
    with pytest.raises(UsageError):
        SqlTarget("sqlite:///x.db", RestoreOptions(on_conflict="overwrite"))
    with pytest.raises(UsageError):
        SqlTarget("sqlite:///x.db", RestoreOptions(rewrite=(("", "gs://x"),)))


def test_copied_rows_fail_like_inserted_ones(tmp_path: Path, postgres: Callable[[], str]) -> None:
    """Enough rows for PostgreSQL's COPY, with one that does not fit, and with any text that does."""
    texts = ["a\tb\nc\\d\\N", "\\N", "\\.", "'\"", "\r", "é🚀", ""] * 30
    runs = [
        Run(run_id=f"{number:032}", experiment_id="1", status="FINISHED", start_time=number, params={"p": text})
        for number, text in enumerate(texts)
    ]
    snapshot = snapshot_of([Experiment(experiment_id="1", name="e"), *runs], tmp_path / "a")
    uri = postgres()
    SqlTarget(uri).restore(snapshot, ALL, QUIET)
    assert digests(backup(uri, tmp_path / "b")) == digests(snapshot)
    wrong = runs[-1].model_copy(update={"params": {"p": "x" * 9000}})
    snapshot = snapshot_of([Experiment(experiment_id="1", name="e"), *runs[:-1], wrong], tmp_path / "c")
    other = postgres()
    with pytest.raises(RestoreError, match=r"params\.value holds 8,000"):
        SqlTarget(other).restore(snapshot, ALL, QUIET)
    assert tables(other) == []


def test_version_numbers_beyond_postgresql_are_refused(tmp_path: Path, postgres: Callable[[], str]) -> None:
    """COPY's binary format would cut them off (psycopg 3.3): 2 to the power of 40 becomes 0."""
    versions = tuple(ModelVersion(version=2**40 + n) for n in range(150))
    uri = postgres()
    with pytest.raises(RestoreError, match=r"model_versions\.version holds -2147483648 to 2147483647"):
        SqlTarget(uri).restore(snapshot_of([RegisteredModel(name="m", versions=versions)], tmp_path / "a"), ALL, QUIET)
    assert tables(uri) == []


@pytest.mark.usefixtures("migrations")
def test_a_new_postgresql_has_just_the_schema_that_mlflow_makes(
    snapshot: Snapshot, postgres: Callable[[], str]
) -> None:
    theirs, ours = postgres(), postgres()
    create_schema(sa.create_engine(theirs, poolclass=sa.NullPool))
    SqlTarget(ours).restore(snapshot, ALL, QUIET)
    assert catalogue(ours) == catalogue(theirs)


def catalogue(uri: str) -> dict[str, list[tuple[str, ...]]]:
    queries = {
        "columns": "SELECT table_name, column_name, data_type, character_maximum_length, column_default, is_nullable"
        " FROM information_schema.columns WHERE table_schema = 'public' ORDER BY 1, 2",
        "constraints": "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint"
        " WHERE connamespace = 'public'::regnamespace ORDER BY 1, 2",
        "indexes": "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1",
        "sequences": "SELECT sequencename FROM pg_sequences ORDER BY 1",
        "revision": "SELECT version_num FROM alembic_version",
    }
    with sa.create_engine(uri, poolclass=sa.NullPool).connect() as connection:
        return {name: [tuple(row) for row in connection.execute(sa.text(query))] for name, query in queries.items()}


def test_the_statements_that_are_kept_make_the_same_schema(
    postgres: Callable[[], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = postgres(), postgres()
    with writing(parse(first)) as connection:
        make_schema(connection, tmp_path)
    assert len(list(tmp_path.iterdir())) == 1
    monkeypatch.delattr(schema, "_migrate_within")
    with writing(parse(second)) as connection:
        make_schema(connection, tmp_path)
    assert catalogue(second) == catalogue(first)
