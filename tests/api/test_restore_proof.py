"""The read-back finds what is not as it should be."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlmeta import restore
from mlmeta.progress import Silent
from tests.support.databases import Databases, change, load, save
from tests.support.plain import rows
from tests.support.server import Server


class Tamper(Silent):
    """Changes the target after all was written, and before it is read back."""

    def __init__(self, database: Path, statement: str) -> None:
        self._database = database
        self._statement = statement

    def phase(self, name: str) -> None:
        if name == "reading the target back":
            change(self._database, self._statement)


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
    "a name": "UPDATE runs SET name = 'other' WHERE name = 'odd'",
    "a stage": "UPDATE runs SET lifecycle_stage = 'deleted' WHERE name = 'odd'",
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


@pytest.mark.parametrize("what", CHANGES)
def test_a_difference_is_found(restored: Server, snapshot_folder: Path, what: str) -> None:
    result = restore(restored.uri, "latest", str(snapshot_folder), progress=Tamper(restored.database, CHANGES[what]))
    assert result.exit_code == 4, what
    assert result.unexplained
    assert {issue.code for issue in result.issues} == {"different"}
    load(restored.folder / "restored.db", restored.database)


def test_without_a_change_there_is_none(restored: Server, snapshot_folder: Path) -> None:
    before = rows(restored.database)
    assert restore(restored.uri, "latest", str(snapshot_folder)).exit_code == 0
    assert rows(restored.database) == before
