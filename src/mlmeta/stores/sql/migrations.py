"""MLflow's migrations: which schemas it knows, and stores of an older one."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from sqlalchemy.engine import Engine

from mlmeta.stores.sql.schema import newest_revision, quiet_migrations
from mlmeta.stores.sql.schema_cache import blank_store, copy_to
from mlmeta.stores.sql.sqlite import hasty_engine, scratch_engine


@cache
def _revisions() -> frozenset[str]:
    """All revisions of the schema that the installed MLflow knows."""
    from alembic.script import ScriptDirectory
    from mlflow.store.db import utils

    script = ScriptDirectory.from_config(utils._get_alembic_config(db_url=""))
    return frozenset(known.revision for known in script.walk_revisions())


def is_known(revision: str) -> bool:
    """Whether the installed MLflow knows a revision of the schema."""
    return revision in _revisions()


def is_older(revision: str) -> bool:
    """Whether a revision is one that the installed MLflow has left behind."""
    return revision != newest_revision() and is_known(revision)


def begin_store_at(path: Path, revision: str) -> None:
    """Make a SQLite file with MLflow's tables as they were at a revision, without a row.

    Args:
        path: is not there yet.
        revision: one that the installed MLflow knows. A second store of it is a copy of the first.
    """

    def make(blank: Path) -> None:
        from mlflow.store.tracking.dbmodels.initial_models import Base

        engine = hasty_engine(blank)
        Base.metadata.create_all(engine)
        _migrate(engine, revision)

    with blank_store(make, revision=revision) as blank:
        copy_to(blank, path)


def upgrade_store(path: Path) -> None:
    """Do what `mlflow db upgrade` does, to a SQLite file that nobody else has.

    Raises:
        Exception: one of `migration_errors`.
    """
    _migrate(scratch_engine(path), "heads")


def _migrate(engine: Engine, revision: str) -> None:
    from alembic import command
    from mlflow.store.db import utils

    config = utils._get_alembic_config(db_url="")
    try:
        with quiet_migrations(), engine.begin() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, revision)
    finally:
        engine.dispose()


def migration_errors() -> tuple[type[Exception], ...]:
    """What MLflow's migrations raise over rows that they can't deal with."""
    from alembic.util import CommandError
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    others = (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)
    return CommandError, MlflowException, SQLAlchemyError, *others
