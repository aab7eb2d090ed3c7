"""MySQL commits whenever a table is made: wherever a restore stopped while it made them, the next one finishes."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from mlmeta import restore
from mlmeta.errors import MlmetaError
from mlmeta.stores.sql.restorer import SqlTarget
from tests.sql.helpers import ALL, QUIET, backup, digests
from tests.support.examples import some


class _StoppedError(BaseException):
    """Stands for a kill."""


def _stop_at(number: int) -> Any:
    """Has the n-th statement that makes or changes a table be the last one; to be removed afterwards."""
    counter = itertools.count(1)

    def listener(*arguments: Any) -> None:
        statement = arguments[2].lstrip().upper()
        if statement.startswith(("CREATE", "ALTER")) and next(counter) == number:
            raise _StoppedError

    sa.event.listen(sa.Engine, "after_cursor_execute", listener)
    return listener


@pytest.mark.usefixtures("migrations")
@pytest.mark.parametrize("number", some([2, 7, 8, 60], 2))
def test_the_next_restore_finishes(mysql: Callable[..., str], filled: Path, tmp_path: Path, number: int) -> None:
    snapshot, uri = backup(f"sqlite:///{filled}", tmp_path / "backups"), mysql()
    listener = _stop_at(number)
    try:
        with pytest.raises(_StoppedError):
            SqlTarget(uri).restore(snapshot, ALL, QUIET)
    finally:
        sa.event.remove(sa.Engine, "after_cursor_execute", listener)
    planned = restore(uri, "latest", str(tmp_path / "backups"), dry_run=True)
    done = restore(uri, "latest", str(tmp_path / "backups"))
    assert planned.plan is not None
    assert (planned.exit_code, done.exit_code, planned.plan.create) == (0, 0, done.created)
    assert digests(backup(uri, tmp_path / "again")) == digests(snapshot)
    assert "mlmeta_unfinished" not in sa.inspect(sa.create_engine(uri, poolclass=sa.NullPool)).get_table_names()


def test_tables_with_rows_are_never_removed(mysql: Callable[..., str], filled: Path, tmp_path: Path) -> None:
    """Somebody began to use the database after a killed restore: it is a store, whatever the mark says."""
    snapshot, uri = backup(f"sqlite:///{filled}", tmp_path / "backups"), mysql()
    SqlTarget(uri).restore(snapshot, ALL, QUIET)
    with sa.create_engine(uri, poolclass=sa.NullPool).begin() as connection:
        connection.execute(sa.text("CREATE TABLE mlmeta_unfinished (id INTEGER)"))
    assert restore(uri, "latest", str(tmp_path / "backups")).created == {}
    with sa.create_engine(uri, poolclass=sa.NullPool).begin() as connection:
        connection.execute(sa.text("DELETE FROM alembic_version"))
    with pytest.raises(MlmetaError, match="schema None"):
        restore(uri, "latest", str(tmp_path / "backups"))
    assert digests(backup(uri, tmp_path / "again")) == digests(snapshot)
