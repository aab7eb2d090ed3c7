"""Rows of an older schema are restored as `mlflow db upgrade` would have left them."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa
from mlflow.store.db.utils import _upgrade_db

import mlmeta
from mlmeta.errors import ExitCode
from mlmeta.schema import ROWS, Row, Selection
from mlmeta.snapshot.reader import Snapshot
from mlmeta.snapshot.selected import Selected
from mlmeta.stores.sql.schema import begin_store_at
from mlmeta.stores.sql.upgrade import RowUpgrades
from tests.sql.helpers import ALL, QUIET, records_of

DUMP = Path(__file__).parent.parent / "data" / "old_mlflow" / "full_3.10.1.sql"
TRACES = {"trace_metrics", "span_metrics"}
"""Tables of rows that hang on traces."""


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A store of MLflow 3.10 with rows in every table."""
    path = tmp_path / "old.db"
    with closing(sqlite3.connect(path)) as db:
        db.executescript(DUMP.read_text())
    return path


@pytest.fixture
def part(tmp_path: Path) -> Iterator[Callable[..., Selected]]:
    """Backs a store up, and gives the part of the snapshot that a restore is about."""
    upgrades = RowUpgrades()

    def make(path: Path, selection: Selection = ALL) -> Selected:
        return upgrades.part_of(saved(path, tmp_path), selection, QUIET)

    yield make
    upgrades.close()


def saved(path: Path, tmp_path: Path) -> Snapshot:
    mlmeta.backup(f"sqlite:///{path}", str(tmp_path / "backups"))
    return mlmeta.open_snapshot(str(tmp_path / "backups"))


def change(path: Path, script: str) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.executescript(script)


def rows(path: Path) -> list[Row]:
    return [record for record in records_of(f"sqlite:///{path}") if isinstance(record, Row)]


def test_the_rows_are_those_of_an_upgraded_store(old: Path, part: Callable[..., Selected]) -> None:
    upgraded = part(old)
    before = [*upgraded.snapshot.records(ROWS)]
    found = [*upgraded.records(ROWS)]
    _upgrade_db(sa.create_engine(f"sqlite:///{old}", poolclass=sa.NullPool))
    assert found == rows(old)
    assert sum(upgraded.tables.values()) == len(found)
    keys = {row.key["key"] for row in before if row.table in TRACES} - {
        row.key["key"] for row in found if row.table in TRACES
    }
    assert keys == {"input_tokens", "total_cost"}  # which have columns of their own now


def test_rows_whose_parents_are_not_rows(old: Path, part: Callable[..., Selected]) -> None:
    """A migration refuses spans without a trace: there are stubs of both, and no record is read from them."""
    change(old, "DELETE FROM trace_metrics; DELETE FROM scorers WHERE experiment_id = 1")
    found = [*part(old).records(ROWS)]
    _upgrade_db(sa.create_engine(f"sqlite:///{old}", poolclass=sa.NullPool))
    assert found == rows(old)


def test_a_restore_writes_them_once(old: Path, tmp_path: Path) -> None:
    storage, target = str(tmp_path / "backups"), tmp_path / "new.db"
    snapshot = saved(old, tmp_path)
    _upgrade_db(sa.create_engine(f"sqlite:///{old}", poolclass=sa.NullPool))
    expected = {ROWS.key(row) for row in rows(old)}
    first = mlmeta.restore(f"sqlite:///{target}", storage=storage)
    left_out = {word for refusal in first.refused for word in TRACES if word in refusal.id}
    assert first.comparison is not None
    assert first.comparison.is_equal
    assert {ROWS.key(row) for row in rows(target)} == {key for key in expected if key.split()[0] not in left_out}
    second = mlmeta.restore(f"sqlite:///{target}", storage=storage)
    assert not any(second.created.values())
    assert second.exit_code == first.exit_code
    assert snapshot.summary.tables["secrets"] == 2


def test_only_rows_of_the_selected_experiments(old: Path, part: Callable[..., Selected]) -> None:
    found = [*part(old, Selection(experiments=("name 1",))).records(ROWS)]
    assert {row.table for row in found} >= {"scorers", "scorer_versions", "online_scoring_configs", "endpoints"}
    assert {row.values["experiment_id"] for row in found if "experiment_id" in row.values} == {2}
    assert not [row for row in found if row.table == "secrets"]  # which belong to none


def test_a_table_that_mlflow_does_not_know_stays_as_it_is(old: Path, part: Callable[..., Selected]) -> None:
    change(old, "CREATE TABLE plugin (id INTEGER PRIMARY KEY, experiment_id INTEGER); INSERT INTO plugin VALUES (7, 1)")
    change(old, "ALTER TABLE endpoint_tags ADD COLUMN extra TEXT; UPDATE endpoint_tags SET extra = 'more'")
    found = part(old)
    assert found.tables["plugin"] == 1
    by_table = {row.table: row for row in found.records(ROWS)}
    assert by_table["plugin"].values == {"id": 7, "experiment_id": 1}
    assert by_table["endpoint_tags"].row["extra"] == "more"
    assert [row.table for row in found.records(ROWS)] == sorted(
        (row.table for row in found.records(ROWS)), key=list(found.tables).index
    )


def test_what_is_not_in_the_target_s_schema_is_named(old: Path, tmp_path: Path) -> None:
    change(old, "ALTER TABLE endpoint_tags ADD COLUMN extra TEXT; UPDATE endpoint_tags SET extra = 'more'")
    saved(old, tmp_path)
    done = mlmeta.restore(f"sqlite:///{tmp_path / 'new.db'}", storage=str(tmp_path / "backups"), on_conflict="skip")
    assert done.exit_code == ExitCode.INCOMPLETE
    assert [refusal.id for refusal in done.refused if "endpoint_tags.extra" in refusal.reason] == ["of endpoint_tags"]


def test_rows_of_a_schema_that_mlflow_does_not_know(old: Path, part: Callable[..., Selected]) -> None:
    """They stay as they are: what the target has a place for is taken."""
    change(old, "UPDATE alembic_version SET version_num = 'ffffffffffff'")
    found = part(old)
    assert type(found) is Selected
    assert [*found.records(ROWS)] == rows(old)


def test_an_empty_store_of_a_revision_is_made_once(tmp_path: Path) -> None:
    for name in ("a.db", "b.db"):
        begin_store_at(tmp_path / name, "bf29a5ff90ea")
        with closing(sqlite3.connect(tmp_path / name)) as db:
            assert db.execute("SELECT version_num FROM alembic_version").fetchone() == ("bf29a5ff90ea",)
            assert not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'workspaces'").fetchone()
    assert (tmp_path / "a.db").read_bytes() == (tmp_path / "b.db").read_bytes()
