"""The blank stores that are kept: MLflow's own schema, whatever happens to the folder."""

from __future__ import annotations

import errno
import os
import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa
from mlflow import MlflowClient
from mlflow.store.db import utils

from mlmeta.stores.sql import schema
from mlmeta.stores.sql import schema_cache as module
from mlmeta.stores.sql.schema_cache import blank_store, revision_of
from tests.support.schemas import made_in_mysql, quick_schemas

pytestmark = pytest.mark.usefixtures("migrations")


def definitions(path: Path) -> list[tuple[str, str, list[str]]]:
    """What the schema says, whatever the order of constraints, which MLflow's migrations leave to chance."""
    with closing(sqlite3.connect(path)) as connection:
        found = connection.execute("SELECT type, name, coalesce(sql, '') FROM sqlite_master ORDER BY type, name")
        return [(kind, name, parts(sql)) for kind, name, sql in found]


def parts(statement: str) -> list[str]:
    return sorted(re.split(r",\s*|\n", statement))


def revisions(path: Path) -> str:
    with blank_store(schema._make_blank, path) as found:
        return revision_of(found)


def test_the_schema_is_what_mlflow_makes(blank: Path, tmp_path: Path) -> None:
    schema.begin_store(tmp_path / "new.db")
    assert definitions(tmp_path / "new.db") == definitions(blank)
    assert revisions(tmp_path / "cache") == utils._get_latest_schema_revision()


def test_the_tests_own_copies_are_what_mlflow_makes(blank: Path, tmp_path: Path) -> None:
    quick_schemas()
    MlflowClient(f"sqlite:///{tmp_path}/new.db").search_experiments()
    assert definitions(tmp_path / "new.db") == definitions(blank)


def test_the_tests_own_mysql_tables_are_what_mlflow_makes(mysql: Callable[[], str]) -> None:
    theirs, first, second = (sa.create_engine(mysql(), poolclass=sa.NullPool) for _ in range(3))
    schema.create_schema(theirs)
    quick_schemas()
    schema.create_schema(first)  # kept, if nobody has yet
    schema.create_schema(second)
    found, expected = made_in_mysql(second), made_in_mysql(theirs)
    assert [parts(one) for one in found["statements"]] == [parts(one) for one in expected["statements"]]
    assert found["rows"] == expected["rows"]


def test_it_is_made_once(tmp_path: Path) -> None:
    revisions(tmp_path)

    def again(path: Path) -> None:
        raise AssertionError(path)

    with blank_store(again, tmp_path) as found:
        assert found.parent == tmp_path


def test_a_damaged_one_is_made_again(tmp_path: Path) -> None:
    revisions(tmp_path)
    (kept,) = tmp_path.iterdir()
    content = kept.read_bytes()
    kept.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with blank_store(schema._make_blank, tmp_path) as found:
        assert definitions(found)
    assert len(list(tmp_path.iterdir())) == 1


def test_another_mlflow_gets_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    revisions(tmp_path)
    real = module.importlib.metadata.version
    with monkeypatch.context() as another:
        another.setattr(module.importlib.metadata, "version", lambda name: real(name) + ".1")
        module._fingerprint.cache_clear()
        revisions(tmp_path)
    module._fingerprint.cache_clear()
    assert len(list(tmp_path.iterdir())) == 2


def test_a_folder_that_cannot_be_written_costs_only_time(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    assert revisions(tmp_path / "file" / "cache") == utils._get_latest_schema_revision()
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_what_a_killed_maker_left_is_removed(tmp_path: Path) -> None:
    old, new = tmp_path / ".old.tmp", tmp_path / ".new.tmp"
    old.touch()
    new.touch()
    os.utime(old, (0, 0))
    revisions(tmp_path)
    assert not old.exists()
    assert new.exists()  # somebody may be writing it


def test_a_full_disk_costs_only_time(tmp_path: Path) -> None:
    """Of the folder it would be kept in; the store itself is made elsewhere."""

    def make(path: Path) -> None:
        if path.parent == tmp_path:
            path.write_bytes(b"the beginning")
            raise OSError(errno.ENOSPC, "No space left on device")
        schema._make_blank(path)

    with blank_store(make, tmp_path) as found:
        assert revision_of(found) == utils._get_latest_schema_revision()
    assert list(tmp_path.iterdir()) == []
