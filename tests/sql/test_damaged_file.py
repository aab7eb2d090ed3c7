"""Bits that flipped in a SQLite file: never another content without a word."""

from __future__ import annotations

import random
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from mlmeta.errors import ConnectionFailedError
from mlmeta.schema import Skipped
from mlmeta.stores.sql.sqlite import _problems
from tests.builders.snapshots import snapshot_of
from tests.sql.helpers import digests, records_of
from tests.support.cli import Cli
from tests.support.databases import change

PLACES = 16


@pytest.fixture(scope="module")
def points(filled: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with some pages of metric points."""
    path = tmp_path_factory.mktemp("points") / "store.db"
    path.write_bytes(filled.read_bytes())
    with closing(sqlite3.connect(path)) as db, db:
        (run,) = db.execute("SELECT run_uuid FROM runs WHERE start_time = 1000").fetchone()
        rows = ((f"key {step % 5}", step / 7, step, run, step, 0) for step in range(300))
        db.executemany("INSERT INTO metrics VALUES (?, ?, ?, ?, ?, ?)", rows)
    return path


def pages_of_metrics(path: Path) -> Iterator[tuple[int, int]]:
    """Where the pages of the metrics table and its indexes begin, and how long they are."""
    with closing(sqlite3.connect(path)) as db:
        (size,) = db.execute("PRAGMA page_size").fetchone()
        roots = [root for (root,) in db.execute("SELECT rootpage FROM sqlite_master WHERE tbl_name = 'metrics'")]
    content = path.read_bytes()
    while roots:
        start = (roots.pop() - 1) * size
        yield start, size
        if content[start] in {2, 5}:  # an interior page: the children of its cells, and the last one
            cells = int.from_bytes(content[start + 3 : start + 5], "big")
            at = [start + int.from_bytes(content[start + 12 + 2 * n : start + 14 + 2 * n], "big") for n in range(cells)]
            roots += [int.from_bytes(content[p : p + 4], "big") for p in (*at, start + 8)]


def outcome(path: Path, folder: Path) -> object:
    """What a read said of a damaged file; the digests of what it gave where it said nothing."""
    try:
        found = records_of(f"sqlite:///{path}")
    except ConnectionFailedError as error:
        return "damaged" if "malformed" in str(error) or "damaged" in str(error) else error
    if any(isinstance(item, Skipped) and item.kind == "database" for item in found):
        return "damaged"
    return digests(snapshot_of(found, folder))


def test_flipped_bits_are_found(points: Path, tmp_path: Path) -> None:
    sound = outcome(points, tmp_path / "sound")
    pages, rolled = list(pages_of_metrics(points)), random.Random(7)
    assert len(pages) > 15
    outcomes = []
    for number in range(PLACES):
        content, (start, size) = bytearray(points.read_bytes()), rolled.choice(pages)
        content[start + rolled.randrange(size)] ^= 1 << rolled.randrange(8)
        damaged = tmp_path / f"{number}.db"
        damaged.write_bytes(content)
        outcomes.append(outcome(damaged, tmp_path / str(number)))
    assert [found for found in outcomes if found not in ("damaged", sound)] == []
    assert outcomes.count("damaged") > PLACES / 3, "the others hit what no page uses"


def without_entries(path: Path, index: str, statement: str) -> None:
    """Execute a statement of which an index learns nothing."""
    with closing(sqlite3.connect(path)) as db, db:
        row = db.execute("SELECT * FROM sqlite_master WHERE name = ?", (index,)).fetchone()
        db.execute("PRAGMA writable_schema = ON")
        db.execute("DELETE FROM sqlite_master WHERE name = ?", (index,))
    with closing(sqlite3.connect(path)) as db, db:
        db.execute(statement)
        db.execute("PRAGMA writable_schema = ON")
        db.execute("INSERT INTO sqlite_master VALUES (?, ?, ?, ?, ?)", row)


def test_a_backup_of_a_damaged_index_is_saved_and_told(points: Path, tmp_path: Path, cli: Cli) -> None:
    """`PRAGMA quick_check` finds nothing wrong with it."""
    damaged = Path(shutil.copy(points, tmp_path / "damaged.db"))
    new = "INSERT INTO tags SELECT 'hidden', 'x', run_uuid FROM runs WHERE start_time = 2000"
    without_entries(damaged, "index_tags_run_uuid", new)
    with closing(sqlite3.connect(damaged)) as db:
        assert db.execute("PRAGMA quick_check").fetchall() == [("ok",)]
    done = cli("backup", "--tracking-uri", f"sqlite:///{damaged}", "--json")
    assert done.code == 3
    (issue,) = done.document["errors"]
    assert issue["code"] == "not_saved"
    assert issue["message"].startswith(f"database *: sqlite:///{damaged} is damaged, and what was read of it may be")
    assert "missing from index index_tags_run_uuid" in issue["message"]
    assert cli("diff", "--tracking-uri", f"sqlite:///{damaged}").code == 3
    assert cli("verify").code == 0


def test_odd_values_are_no_damage(points: Path, tmp_path: Path) -> None:
    odd = Path(shutil.copy(points, tmp_path / "odd.db"))
    change(odd, "UPDATE runs SET status = 'ODD' WHERE start_time = 5")
    with closing(sqlite3.connect(odd)) as db:
        assert "CHECK constraint failed" in db.execute("PRAGMA integrity_check").fetchone()[0]
        assert _problems(db) == []
