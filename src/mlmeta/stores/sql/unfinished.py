"""A schema that a killed restore left half-made in MySQL, which commits whenever a table is made or altered.

MLflow's migrations can't go on from the middle of one of them. So a restore that makes the schema marks the database
with a table of its own for as long; the next one that finds the mark, and no row yet, begins anew.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

_MARK = "mlmeta_unfinished"


def is_unfinished(connection: Connection, names: Collection[str]) -> bool:
    """Whether the tables of a database are what a killed restore left of making them.

    Args:
        connection: to the database.
        names: of its tables.
    """
    return _MARK in names and not any(_has_rows(connection, name) for name in {"experiments", "runs"} & {*names})


@contextlib.contextmanager
def marked(engine: Engine, made: Collection[str]) -> Iterator[None]:
    """Have a database marked while its tables are made; what was left of them before is gone.

    Args:
        engine: on a MySQL database that is empty, or unfinished.
        made: names of all tables that MLflow makes.
    """
    with engine.begin() as connection:
        names = sa.inspect(connection).get_table_names()
        if is_unfinished(connection, names):
            connection.exec_driver_sql("SET FOREIGN_KEY_CHECKS = 0")
            for name in {*names} & {*made}:
                connection.execute(sa.schema.DropTable(sa.Table(name, sa.MetaData())))
            connection.exec_driver_sql("SET FOREIGN_KEY_CHECKS = 1")
        else:
            connection.execute(sa.schema.CreateTable(_mark()))
    yield
    with engine.begin() as connection:
        connection.execute(sa.schema.DropTable(_mark()))
    engine.dispose()


def _mark() -> sa.Table:
    return sa.Table(_MARK, sa.MetaData(), sa.Column("id", sa.Integer))


def _has_rows(connection: Connection, name: str) -> bool:
    return connection.execute(sa.select(sa.literal(1)).select_from(sa.table(name)).limit(1)).first() is not None
