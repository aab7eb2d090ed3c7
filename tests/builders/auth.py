"""A database of basic-auth, filled by MLflow's own store of it. Needs Flask-WTF."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

from tests.support.server import quick_hashes

PASSWORDS = {"admin": "admin-password-1", "alice": "alice-password-1", "bob": "bob-password-12"}
"""Of the users, of which admin is one."""


def fill_auth(uri: str, experiments: Sequence[str], names: Sequence[str] = tuple(PASSWORDS)) -> None:
    """Three users: alice may edit some experiments, bob may not even see them; a role may edit all models.

    Args:
        uri: of the database, which may be empty.
        experiments: ids; none: nobody is given anything.
        names: of the users, the first of whom is an admin.
    """
    with _store(uri) as store:
        for name in names:
            store.create_user(name, PASSWORDS.get(name, "some-password-1"), is_admin=name == names[0])
        for experiment in experiments:
            store.create_experiment_permission(experiment, "alice", "EDIT")
            store.create_experiment_permission(experiment, "bob", "DENY")
        if experiments:
            store.create_registered_model_permission("churn", "bob", "READ")
            role = store.create_role("team", "default", "those who make models")
            store.add_role_permission(role.id, "registered_model", "*", "EDIT")
            store.assign_role_to_user(store.get_user("alice").id, role.id)


def add_user(uri: str, name: str, password: str) -> int:
    """Have MLflow make a user; gives the id."""
    with _store(uri) as store:
        return int(store.create_user(name, password).id)


def upgrade(uri: str) -> None:
    """Have MLflow upgrade a database, as its server does when it starts."""
    with _store(uri):
        pass


@contextlib.contextmanager
def _store(uri: str) -> Iterator[Any]:
    from mlflow.server.auth.sqlalchemy_store import SqlAlchemyStore

    quick_hashes()
    store = SqlAlchemyStore()
    store.init_db(uri)
    try:
        yield store
    finally:
        store.engine.dispose()
