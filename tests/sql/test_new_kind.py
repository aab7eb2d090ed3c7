"""A new kind whose tables are plain takes its record, its `Kind` and its `KindTable`, and no other code."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from operator import attrgetter
from pathlib import Path

import pytest

import mlmeta
from mlmeta.errors import ConflictError, ExitCode, RestoreError
from mlmeta.schema import KINDS, Kind, Record, experiment_order, kinds
from mlmeta.schema.kind import Int64, SortedMap
from mlmeta.snapshot import order
from mlmeta.stores.sql import tables
from mlmeta.stores.sql.mapping import KindTable, Pairs, optional, plain
from mlmeta.stores.sql.schema import begin_store


class Gadget(Record):
    gadget_id: str
    experiment_id: str
    name: str
    made: Int64 = 0
    color: str | None = None
    tags: SortedMap[str] = {}


GADGETS = Kind(
    "gadgets",
    Gadget,
    one="gadget",
    many="gadgets",
    key=attrgetter("gadget_id"),
    order=lambda gadget: (experiment_order(gadget.experiment_id), gadget.made, gadget.gadget_id),
    experiment=attrgetter("experiment_id"),
    always=False,
)
TABLE = KindTable(
    "gadgets",
    kind=GADGETS,
    columns=(plain("gadget_id"), tables.EXPERIMENT_ID, plain("name"), plain("made", otherwise=0), optional("color")),
    pairs=(Pairs("gadget_tags", "tags", ("gadget_id",)),),
    order=("experiment_id", "made", "gadget_id"),
    lasting=frozenset({"made"}),
)
MAKE = """
CREATE TABLE gadgets (gadget_id TEXT PRIMARY KEY, experiment_id INTEGER, name TEXT, made INTEGER, color TEXT);
CREATE TABLE gadget_tags (gadget_id TEXT, key TEXT, value TEXT, PRIMARY KEY (gadget_id, key));
"""
EXPERIMENT = """
INSERT INTO experiments (experiment_id, name, artifact_location, lifecycle_stage)
VALUES (0, 'Default', 's3://b/0', 'active'), (7, 'seven', 's3://b/7', 'active');
"""
FILL = """
INSERT INTO gadgets VALUES ('g2', 0, 'second', 5, ''), ('g1', 0, 'first', 5, 'red'), ('g0', 7, 'third', 1, NULL);
INSERT INTO gadget_tags VALUES ('g1', 'k', 'v'), ('g1', 'empty', NULL);
"""


@pytest.fixture(autouse=True)
def _known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(KINDS, GADGETS.name, GADGETS)
    monkeypatch.setitem(kinds._BY_RECORD, Gadget, GADGETS)
    monkeypatch.setitem(order._POSITIONS, GADGETS.name, len(order._POSITIONS))
    monkeypatch.setitem(tables.TABLES, GADGETS.name, TABLE)
    for name, columns in TABLE.all_columns():
        monkeypatch.setitem(tables.COLUMNS, name, columns)


def made(path: Path, *scripts: str) -> str:
    """A store of MLflow with two experiments, changed by scripts."""
    uri = f"sqlite:///{path}"
    begin_store(path)
    change(uri, EXPERIMENT, *scripts)
    return uri


def change(uri: str, *scripts: str) -> None:
    with closing(sqlite3.connect(uri.removeprefix("sqlite:///"))) as connection:
        for script in scripts:
            connection.executescript(script)


def rows(uri: str) -> list[object]:
    with closing(sqlite3.connect(uri.removeprefix("sqlite:///"))) as connection:
        found = "SELECT gadget_id, experiment_id, name, made, coalesce(color, '') FROM gadgets ORDER BY 1"
        tags = "SELECT gadget_id, key, coalesce(value, '') FROM gadget_tags ORDER BY 1, 2"
        return [*connection.execute(found), *connection.execute(tags)]


@pytest.fixture
def store(tmp_path: Path) -> str:
    return made(tmp_path / "store.db", MAKE, FILL)


@pytest.fixture
def backups(store: str, tmp_path: Path) -> str:
    mlmeta.backup(store, str(tmp_path / "backups"))
    return str(tmp_path / "backups")


def test_it_is_saved_in_order(backups: str) -> None:
    snapshot = mlmeta.open_snapshot(backups, "latest")
    assert list(snapshot.records(GADGETS)) == [
        Gadget(gadget_id="g1", experiment_id="0", name="first", made=5, color="red", tags={"empty": "", "k": "v"}),
        Gadget(gadget_id="g2", experiment_id="0", name="second", made=5),
        Gadget(gadget_id="g0", experiment_id="7", name="third", made=1),
    ]


def test_it_is_listed(backups: str) -> None:
    (found,) = mlmeta.list_snapshots(backups).snapshots
    assert found.stats["gadgets"] == 3


def test_it_is_restored_once(store: str, backups: str, tmp_path: Path) -> None:
    target = made(tmp_path / "target.db", MAKE)
    first = mlmeta.restore(target, "latest", backups)
    assert (first.created["gadgets"], first.exit_code) == (3, ExitCode.DONE)
    assert first.comparison is not None
    assert (first.comparison.compared["gadget"], first.comparison.is_equal) == (3, True)
    assert rows(target) == rows(store)
    again = mlmeta.restore(target, "latest", backups)
    assert (again.created, again.present["gadgets"]) == ({}, 3)


def test_what_is_there_stays(backups: str, tmp_path: Path) -> None:
    target = made(tmp_path / "target.db", MAKE, FILL, "UPDATE gadgets SET name = 'ours' WHERE gadget_id = 'g1'")
    plan = mlmeta.restore(target, "latest", backups, dry_run=True).plan
    assert plan is not None
    assert (plan.present["gadgets"], plan.changed["gadgets"], plan.conflicts) == (3, 1, ())
    change(target, "UPDATE gadgets SET made = 6 WHERE gadget_id = 'g2'")
    with pytest.raises(ConflictError, match="gadget g2: the target has it with other content: made is 6 instead of 5"):
        mlmeta.restore(target, "latest", backups)


def test_a_target_without_the_table(backups: str, tmp_path: Path) -> None:
    target = f"sqlite:///{tmp_path}/new.db"
    with pytest.raises(RestoreError, match="gadget g1: the target's MLflow has no table gadgets"):
        mlmeta.restore(target, "latest", backups)
    result = mlmeta.restore(target, "latest", backups, on_conflict="skip")
    assert [(r.kind, r.id) for r in result.refused] == [("gadget", "g1"), ("gadget", "g2"), ("gadget", "g0")]


def test_a_difference_is_seen(store: str, backups: str) -> None:
    change(store, "UPDATE gadgets SET color = 'blue' WHERE gadget_id = 'g1'; DELETE FROM gadgets WHERE name = 'third'")
    result = mlmeta.diff("latest", storage=backups, tracking_uri=store)
    assert [(c.kind, c.id, c.what, c.field) for c in result.comparison.changes] == [
        ("gadget", "g1", "changed", "color"),
        ("gadget", "g0", "removed", ""),
    ]
