"""Users, password hashes, roles and permissions of MLflow's basic-auth: rows of its tables, saved on request only."""

from __future__ import annotations

from typing import Any

from pydantic import ConfigDict

from mlmeta.schema.kind import AUTH_GROUP, Kind
from mlmeta.schema.rows import Row, row_key, row_order

AUTH_TABLES = (
    *("users", "roles", "role_permissions", "user_role_assignments"),
    *("experiment_permissions", "registered_model_permissions", "scorer_permissions"),
    *("gateway_secret_permissions", "gateway_endpoint_permissions", "gateway_model_definition_permissions"),
    "workspace_permissions",
)
"""The tables of basic-auth, parents first; of versions to come, others follow by name."""

_RANKS = {table: rank for rank, table in enumerate(AUTH_TABLES)}
_USERS = AUTH_TABLES[0]
_SECRET = "row[password_hash]"  # noqa: S105 - the name of a field


class AuthRow(Row):
    """A row of a table of basic-auth; see `Row`. Errors of validation don't repeat what it holds."""

    model_config = ConfigDict(hide_input_in_errors=True)


def auth_table_order(table: str) -> tuple[int, str]:
    """Sort key of the tables of basic-auth."""
    return _RANKS.get(table, len(_RANKS)), table


def experiment_of(row: AuthRow) -> str | None:
    """The id of the experiment that a permission is about; None: it is about something else.

    Some tables have a column for it; roles name an experiment, or a scorer as ``experiment/name``
    (`mlflow/server/auth/sqlalchemy_store.py`).
    """
    values = row.values
    if "experiment_id" in values:
        return str(values["experiment_id"])
    is_inside = values.get("resource_type") in {"experiment", "scorer"}
    return str(values.get("resource_pattern")).partition("/")[0] if is_inside else None


def _order(row: AuthRow) -> tuple[tuple[int, str], Any]:
    return auth_table_order(row.table), row_order(row)[1]


def _title(row: AuthRow) -> str:
    """What people call it: a user's or a role's name."""
    found = row.row.get("username") or row.row.get("name")
    return found if isinstance(found, str) else ""


def _one(_: AuthRow) -> int:
    return 1


def _is_user(row: AuthRow) -> int:
    return int(row.table == _USERS)


AUTH = Kind(
    "auth",
    AuthRow,
    one="auth row",
    many="auth rows",
    key=row_key,
    order=_order,
    title=_title,
    since="1.2",
    always=False,
    groups=(AUTH_GROUP,),
    counts=(("auth_rows", _one), ("users", _is_user)),
    on_request=True,
    secrets=(_SECRET,),
)
