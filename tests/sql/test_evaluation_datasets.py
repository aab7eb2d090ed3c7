"""Evaluation datasets, with their records, tags and experiments: out of a database, and back as they were."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa
from mlflow import MlflowClient

import mlmeta
from mlmeta.errors import ConflictError, ExitCode
from mlmeta.schema import DATASET_RECORDS, EVALUATION_DATASETS, DatasetRecord, EvaluationDataset, Selection
from mlmeta.stores.sql.schema import begin_store
from tests.builders.evaluation import BIG, MANY, MadeDatasets, add_datasets, content
from tests.builders.tracking import tracking
from tests.support.reading import data_files, stored

pytest.importorskip("mlflow.genai.datasets", reason="MLflow 3.5 brought evaluation datasets")

KINDS = (EVALUATION_DATASETS.name, DATASET_RECORDS.name)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, MadeDatasets]:
    """A store with evaluation datasets. Not to be changed."""
    path = tmp_path_factory.mktemp("datasets") / "mlflow.db"
    begin_store(path)
    return path, add_datasets(f"sqlite:///{path}")


@pytest.fixture(scope="module")
def backups(made: tuple[Path, MadeDatasets], tmp_path_factory: pytest.TempPathFactory) -> str:
    """A snapshot of it."""
    folder = tmp_path_factory.mktemp("backups")
    saved = mlmeta.backup(f"sqlite:///{made[0]}", str(folder))
    assert (saved.exit_code, saved.warnings) == (ExitCode.DONE, ())
    assert (saved.stats["evaluation_datasets"], saved.stats["dataset_records"]) == (4, MANY + 6)
    return str(folder)


def copy_of(made: tuple[Path, MadeDatasets], folder: Path, *statements: str) -> str:
    """A copy of the store, changed."""
    path = shutil.copy(made[0], folder / "copy.db")
    with closing(sqlite3.connect(path)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()
    return f"sqlite:///{path}"


def rows(uri: str, table: str) -> list[tuple[object, ...]]:
    """The rows of a table, JSON `null` as no value."""
    engine = sa.create_engine(uri, poolclass=sa.NullPool)
    with engine.connect() as connection:
        found = connection.execute(sa.text(f"SELECT * FROM {table}")).all()
    return sorted((tuple(None if value == "null" else value for value in row) for row in found), key=repr)


def test_what_is_read(made: tuple[Path, MadeDatasets], backups: str) -> None:
    ids = made[1]
    snapshot = mlmeta.open_snapshot(backups, "latest")
    datasets = {one.dataset_id: one for one in snapshot.records(EVALUATION_DATASETS)}
    records = list(snapshot.records(DATASET_RECORDS))
    qa = datasets[ids.datasets["qa"]]
    assert (qa.name, qa.tags["leer"], json.loads(qa.profile or "")) == ("fragen", "", {"num_records": MANY + 2})
    assert qa.experiment_ids == (ids.experiments["qa"], ids.experiments["größe 模型"])
    assert datasets[ids.datasets["free"]].experiment_ids == ()
    own = {record.inputs.get("number", str(record.inputs)[:20]): record for record in records}
    assert own[7].outputs == 'Antwort 7 \\ " \n'
    assert own[7].expectations == {"score": 7 / 3, "facts": ["a", None, True]}
    assert [record.input_hash for record in records] == [None] * len(records)
    assert any(record.inputs.get("question") == BIG for record in records)
    human = next(record for record in records if record.inputs == {"question": "human"})
    assert (human.source_type, human.source_id, human.outputs) == ("HUMAN", "ada", {})
    assert human.tags["more"] == "1"


@pytest.mark.parametrize("kind", ["sqlite", "postgres", "mysql"])
def test_they_come_back_as_they_were(
    made: tuple[Path, MadeDatasets], backups: str, tmp_path: Path, kind: str, request: pytest.FixtureRequest
) -> None:
    """MLflow shows the same, and another snapshot is the same to the byte."""
    target = f"sqlite:///{tmp_path}/t.db" if kind == "sqlite" else request.getfixturevalue(kind)()
    first = mlmeta.restore(target, "latest", backups)
    assert first.comparison is not None
    assert (first.exit_code, first.comparison.is_equal) == (ExitCode.DONE, True)
    assert first.comparison.matching["dataset record"] == MANY + 6
    mlmeta.backup(target, str(tmp_path / "again"))
    assert all(data_files(tmp_path / "again")[name] == data_files(Path(backups))[name] for name in KINDS)
    assert content(target) == content(f"sqlite:///{made[0]}")
    again = mlmeta.restore(target, "latest", backups)
    assert (again.created, again.present["dataset records"], again.exit_code) == ({}, MANY + 6, ExitCode.DONE)
    assert mlmeta.diff("latest", storage=backups, tracking_uri=target).comparison.is_equal
    if kind == "sqlite":
        for table in ("evaluation_datasets", "evaluation_dataset_records", "evaluation_dataset_tags"):
            assert rows(target, table) == rows(f"sqlite:///{made[0]}", table)


@pytest.mark.parametrize("kind", ["postgres", "mysql"])
def test_what_mlflow_wrote_in_another_database(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    uri = request.getfixturevalue(kind)()
    add_datasets(uri, many=3)
    saved = mlmeta.backup(uri, str(tmp_path / "backups"))
    assert (saved.exit_code, saved.stats["dataset_records"]) == (ExitCode.DONE, 9)
    target = f"sqlite:///{tmp_path}/t.db"
    assert mlmeta.restore(target, "latest", str(tmp_path / "backups")).exit_code == ExitCode.DONE
    assert content(target) == content(uri)


def test_what_people_added_stays(made: tuple[Path, MadeDatasets], backups: str, tmp_path: Path) -> None:
    target, ids = copy_of(made, tmp_path), made[1].datasets
    client = MlflowClient(target)
    with tracking(target):
        from mlflow.genai.datasets import get_dataset

        other = get_dataset(dataset_id=ids["other"])
        other.merge_records([{"inputs": {"question": "new"}}, {"inputs": {"question": "human"}, "tags": {"more": "2"}}])
        (gone,) = (
            r.dataset_record_id for r in client.get_dataset(ids["other"]).records if r.inputs == {"question": "traced"}
        )
        other.delete_records([gone])
    result = mlmeta.restore(target, "latest", backups)
    assert (result.exit_code, result.created) == (ExitCode.DONE, {"dataset records": 1})
    assert result.comparison is not None
    assert result.comparison.total_changed
    with tracking(target):
        found = client.get_dataset(ids["other"])
        assert {record.inputs["question"] for record in found.records} == {"new", "human", "traced", "document"}
        assert json.loads(found.profile) == {"num_records": 4}
        assert next(r.tags["more"] for r in found.records if r.inputs["question"] == "human") == "2"


def test_the_same_inputs_under_another_id_are_a_conflict(
    made: tuple[Path, MadeDatasets], backups: str, tmp_path: Path
) -> None:
    change = "UPDATE evaluation_dataset_records SET dataset_record_id = 'dr-other' WHERE inputs LIKE '%traced%'"
    target = copy_of(made, tmp_path, change)
    with pytest.raises(ConflictError, match="its dataset has these inputs already, as record dr-other"):
        mlmeta.restore(target, "latest", backups)
    result = mlmeta.restore(target, "latest", backups, on_conflict="skip")
    assert [(refusal.kind, refusal.code) for refusal in result.refused] == [("dataset record", "not_restored")]


def test_another_dataset_under_the_same_id_is_a_conflict(
    made: tuple[Path, MadeDatasets], backups: str, tmp_path: Path
) -> None:
    ids = made[1].datasets
    target = copy_of(
        made,
        tmp_path,
        "DELETE FROM evaluation_dataset_records",
        f"UPDATE evaluation_datasets SET name = 'mine' WHERE dataset_id = '{ids['free']}'",
    )
    result = mlmeta.restore(target, "latest", backups, on_conflict="skip")
    assert [(refusal.kind, refusal.id) for refusal in result.refused] == [
        ("evaluation dataset", ids["free"]),
        ("dataset records", f"of evaluation dataset {ids['free']}"),
    ]
    assert result.created == {"dataset records": MANY + 5}
    assert result.exit_code == ExitCode.INCOMPLETE


def test_a_selection(made: tuple[Path, MadeDatasets], backups: str, tmp_path: Path) -> None:
    """The datasets of an experiment, without their other experiments: the same when saved and when restored."""
    uri, ids = f"sqlite:///{made[0]}", made[1]
    mlmeta.backup(uri, str(tmp_path / "limited"), experiments="qa")
    snapshot = mlmeta.open_snapshot(str(tmp_path / "limited"), "latest")
    (qa,) = snapshot.records(EVALUATION_DATASETS)
    assert (qa.dataset_id, qa.experiment_ids) == (ids.datasets["qa"], (ids.experiments["qa"],))
    assert {record.dataset_id for record in snapshot.records(DATASET_RECORDS)} == {qa.dataset_id}
    assert mlmeta.restore(f"sqlite:///{tmp_path}/a.db", "latest", str(tmp_path / "limited")).exit_code == ExitCode.DONE
    whole = mlmeta.restore(f"sqlite:///{tmp_path}/b.db", "latest", backups, selection=Selection(experiments=("qa",)))
    assert (whole.exit_code, whole.created["evaluation datasets"]) == (ExitCode.DONE, 1)
    for name in ("a", "b"):
        found = stored(f"sqlite:///{tmp_path}/{name}.db")
        assert [one for one in found if isinstance(one, EvaluationDataset)] == [qa]
        assert sum(isinstance(one, DatasetRecord) for one in found) == MANY + 2


def test_an_experiment_that_is_gone(made: tuple[Path, MadeDatasets], tmp_path: Path) -> None:
    """`mlflow gc` leaves the links: they come back, but not where another experiment has that id."""
    ids = made[1]
    gone = ids.experiments["gone"]
    source = copy_of(
        made,
        tmp_path,
        f"DELETE FROM experiment_tags WHERE experiment_id = {gone}",
        f"DELETE FROM experiments WHERE experiment_id = {gone}",
    )
    storage = str(tmp_path / "backups")
    mlmeta.backup(source, storage)
    target = f"sqlite:///{tmp_path}/t.db"
    assert mlmeta.restore(target, "latest", storage).exit_code == ExitCode.DONE
    assert {one.experiment_ids for one in stored(target) if getattr(one, "name", "") == "empty"} == {(gone,)}
    begin_store(tmp_path / "u.db")
    with closing(sqlite3.connect(tmp_path / "u.db")) as connection:
        values = f"({gone}, 'mine', 's3://b', 'active', 1, 1, 'default')"
        columns = "experiment_id, name, artifact_location, lifecycle_stage, creation_time, last_update_time, workspace"
        connection.execute(f"INSERT INTO experiments ({columns}) VALUES {values}")
        connection.commit()
    result = mlmeta.restore(f"sqlite:///{tmp_path}/u.db", "latest", storage)
    assert [(r.kind, r.id, r.field) for r in result.refused] == [
        ("evaluation dataset", ids.datasets["empty"], "experiment_ids")
    ]
    assert result.exit_code == ExitCode.INCOMPLETE


def test_most_of_them_gone_is_suspicious(made: tuple[Path, MadeDatasets], tmp_path: Path) -> None:
    storage = str(tmp_path / "backups")
    mlmeta.backup(copy_of(made, tmp_path), storage)
    saved = mlmeta.backup(copy_of(made, tmp_path, "DELETE FROM evaluation_datasets WHERE name <> 'free'"), storage)
    assert saved.shrunken.startswith("1 evaluation dataset where ")


def test_odd_rows(made: tuple[Path, MadeDatasets], tmp_path: Path) -> None:
    """What SQLite holds, and JSON or MLflow's function does not."""
    ids = made[1].datasets
    of = f"WHERE dataset_id = '{ids['other']}' AND inputs LIKE"
    odd = '{"a": NaN, "b": -Infinity}'
    source = copy_of(
        made,
        tmp_path,
        f"DELETE FROM evaluation_dataset_records WHERE dataset_id = '{ids['qa']}'",
        f"UPDATE evaluation_dataset_records SET expectations = '{odd}' {of} '%traced%'",
        f"UPDATE evaluation_dataset_records SET input_hash = 'of another version' {of} '%human%'",
        f"UPDATE evaluation_dataset_records SET tags = NULL, source = NULL {of} '%document%'",
        "INSERT INTO evaluation_dataset_records (dataset_record_id, dataset_id, inputs, input_hash) "
        "VALUES ('dr-lost', 'd-gone', '{}', 'h')",
    )
    saved = mlmeta.backup(source, str(tmp_path / "backups"))
    assert saved.skipped == ()
    assert "its expectations hold NaN or an infinity, which became a text" in saved.warnings[0]
    assert "1 dataset records belong to evaluation datasets that are gone" in saved.warnings[1]
    records = list(mlmeta.open_snapshot(str(tmp_path / "backups"), "latest").records(DATASET_RECORDS))
    by_input = {record.inputs.get("question"): record for record in records}
    assert by_input["traced"].expectations == {"a": "NaN", "b": "-Infinity"}
    assert by_input["human"].input_hash == "of another version"
    assert (by_input["document"].tags, by_input["document"].source) == ({}, None)
    target = f"sqlite:///{tmp_path}/t.db"
    assert mlmeta.restore(target, "latest", str(tmp_path / "backups")).exit_code == ExitCode.DONE
    hashes = [row[-2] for row in rows(target, "evaluation_dataset_records")]
    assert "of another version" in hashes


def test_a_target_of_an_older_mlflow(backups: str, tmp_path: Path, blank: Path) -> None:
    """One without the tables is named."""
    target = Path(shutil.copy(blank, tmp_path / "t.db"))
    with closing(sqlite3.connect(target)) as connection:
        for table in ("evaluation_dataset_records", "evaluation_dataset_tags", "evaluation_datasets"):
            connection.execute(f"DROP TABLE {table}")
        connection.commit()
    result = mlmeta.restore(f"sqlite:///{target}", "latest", backups, on_conflict="skip")
    assert result.exit_code == ExitCode.INCOMPLETE
    assert {refusal.kind for refusal in result.refused} == {"evaluation dataset", "dataset records"}
    assert result.comparison is not None
    assert result.comparison.is_equal


def test_a_record_of_a_dataset_that_is_missing_is_damage(backups: str, tmp_path: Path) -> None:
    from tests.builders.snapshots import write

    snapshot = mlmeta.open_snapshot(backups, "latest")
    record = next(snapshot.records(DATASET_RECORDS))
    write(tmp_path, [record])
    result = mlmeta.verify("latest", str(tmp_path))
    assert "which is missing" in result.issues[0].message


def test_postgres_and_mysql_sort_as_a_snapshot_does(
    postgres: Callable[[], str], mysql: Callable[[], str], tmp_path: Path
) -> None:
    from tests.builders.snapshots import write

    datasets = [EvaluationDataset(dataset_id=name, name="n") for name in ("B", "Z", "a", "é")]
    records = [
        DatasetRecord(
            dataset_id=one.dataset_id, dataset_record_id=f"{one.dataset_id}{n}", inputs={"n": n}, created_time=t
        )
        for one in datasets
        for n, t in ((1, 5), (2, 5), (3, 7), (4, None))
    ]
    write(tmp_path / "backups", [*datasets, *records])
    for uri in (postgres(), mysql()):
        assert mlmeta.restore(uri, "latest", str(tmp_path / "backups")).exit_code == ExitCode.DONE
        assert [one for one in stored(uri) if isinstance(one, DatasetRecord)] == records
