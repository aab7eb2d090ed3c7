"""The read-back finds what is not as it should be, and tells what was lost from what people changed since."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlmeta import restore
from mlmeta.progress import Silent
from tests.support.databases import Databases, change, load, save
from tests.support.examples import some
from tests.support.plain import rows
from tests.support.server import Server


class Tamper(Silent):
    """Changes the target after all was written, and before it is read back."""

    def __init__(self, database: Path, *statements: str) -> None:
        self._database = database
        self._statements = statements

    def phase(self, name: str) -> None:
        if name == "reading the target back":
            for statement in self._statements:
                change(self._database, statement)


CHANGES = {
    "a param": "UPDATE params SET value = 'other' WHERE key = 'lr' AND value = '0.1'",
    "a param lost": "DELETE FROM params WHERE key = 'lr' AND value = '0.1'",
    "a tag": "UPDATE tags SET value = 'other' WHERE key = 'fold' AND value = '2'",
    "a point": "UPDATE metrics SET value = value + 1e-12 WHERE key = 'loss' AND step = 7",
    "a point lost": "DELETE FROM metrics WHERE key = 'loss' AND step = 7",
    "a point more": "INSERT INTO metrics SELECT key, value, timestamp, run_uuid, 99, is_nan FROM metrics LIMIT 1",
    "a NaN": "UPDATE metrics SET is_nan = 0 WHERE key = 'nan'",
    "a status": "UPDATE runs SET status = 'KILLED' WHERE name = 'odd'",
    "a time": "UPDATE runs SET end_time = end_time + 1 WHERE name = 'odd'",
    "a stage": "UPDATE runs SET lifecycle_stage = 'deleted' WHERE name = 'odd'",
    "a name": "UPDATE runs SET name = 'other' WHERE name = 'odd'",
    "an experiment": "UPDATE experiments SET lifecycle_stage = 'active' WHERE name = 'abandoned'",
    "an experiment's tag": "UPDATE experiment_tags SET value = 'other' WHERE key = 'note' AND value = 'churn'",
    "a model": "UPDATE registered_models SET description = 'other' WHERE name = 'churn-model'",
    "a version's stage": "UPDATE model_versions SET current_stage = 'Staging' WHERE source LIKE '%model-3'",
    "a version's source": "UPDATE model_versions SET source = 'gs://x' WHERE name = 'churn-model' AND version = 3",
    "a version's run": "UPDATE model_versions SET run_id = 'x' WHERE name = 'churn-model' AND version = 3",
    "an alias": "UPDATE registered_model_aliases SET version = 1 WHERE alias = 'champion'",
    "an alias lost": "DELETE FROM registered_model_aliases WHERE alias = 'champion'",
    "a dataset": "UPDATE datasets SET dataset_profile = 'other' WHERE name = 'train'",
}


@pytest.fixture(scope="module")
def restored(_running: Server, databases: Databases, snapshot_folder: Path) -> Server:
    databases.load("empty", _running.database)
    restore(_running.uri, "latest", str(snapshot_folder))
    save(_running.database, _running.folder / "restored.db")
    return _running


@pytest.mark.parametrize("what", some(CHANGES, 7))
def test_what_was_there_before_was_changed_since(restored: Server, snapshot_folder: Path, what: str) -> None:
    load(restored.folder / "restored.db", restored.database)
    result = restore(restored.uri, "latest", str(snapshot_folder), progress=Tamper(restored.database, CHANGES[what]))
    assert (result.exit_code, result.issues) == (0, ()), what
    assert result.comparison is not None
    assert result.comparison.total_changed == len(result.comparison.changed) >= 1
    load(restored.folder / "restored.db", restored.database)


def test_what_was_just_written_and_is_not_found_is_a_difference(server: Server, snapshot_folder: Path) -> None:
    apart = [statement for what, statement in CHANGES.items() if what not in {"a param", "a point", "an alias"}]
    result = restore(server.uri, "latest", str(snapshot_folder), progress=Tamper(server.database, *apart))
    assert result.exit_code == 4
    assert {issue.code for issue in result.issues} == {"different"}
    assert {f"{difference.kind}: {difference.field}" for difference in result.unexplained} == {
        "experiment: lifecycle_stage",
        "experiment: tags[note]",
        *(f"run: {field}" for field in ("params[lr]", "tags[fold]", "dataset_inputs")),
        *(f"run: {field}" for field in ("status", "end_time", "run_name", "lifecycle_stage")),
        *(f"run: history of {key}" for key in ("loss", "nan")),
        *(f"model version: {field}" for field in ("current_stage", "source", "run_id")),
        *(f"registered model: {field}" for field in ("description", "aliases[champion]")),
    }


MORE = {
    "a tag": "INSERT INTO tags SELECT 'added since', 'x', run_uuid FROM runs WHERE name = 'odd'",
    "a metric": "INSERT INTO metrics SELECT 'new', 1, 1, run_uuid, 0, 0 FROM runs WHERE name = 'odd'",
    "an experiment's tag": "INSERT INTO experiment_tags SELECT 'added since', 'x', experiment_id FROM experiments",
    "an alias": "INSERT INTO registered_model_aliases (name, alias, version, workspace)"
    " VALUES ('churn-model', 'since', 1, 'default')",
    "a model's time": "UPDATE registered_models SET last_updated_time = last_updated_time + 5",
}


def test_what_came_to_it_while_it_was_written_is_none(server: Server, snapshot_folder: Path) -> None:
    tamper = Tamper(server.database, *MORE.values(), CHANGES["a point more"])
    result = restore(server.uri, "latest", str(snapshot_folder), progress=tamper)
    assert (result.exit_code, result.issues) == (0, ())


def test_what_people_changed_before_stays(restored: Server, snapshot_folder: Path) -> None:
    load(restored.folder / "restored.db", restored.database)
    for what in ("an alias", "a tag", "a status", "a model", "a version's stage", "an experiment's tag"):
        change(restored.database, CHANGES[what])
    before = rows(restored.database)
    result = restore(restored.uri, "latest", str(snapshot_folder))
    assert (result.exit_code, result.issues) == (0, ())
    assert rows(restored.database) == before
    assert restore(restored.uri, "latest", str(snapshot_folder), dry_run=True).exit_code == 0
    load(restored.folder / "restored.db", restored.database)


def test_without_a_change_there_is_none(restored: Server, snapshot_folder: Path) -> None:
    load(restored.folder / "restored.db", restored.database)  # another module's tests may have had the server
    before = rows(restored.database)
    assert restore(restored.uri, "latest", str(snapshot_folder)).exit_code == 0
    assert rows(restored.database) == before
