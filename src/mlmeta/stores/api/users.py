"""Whether a server has users (basic-auth), and what it hides from the one that asks."""

from __future__ import annotations

from functools import partial
from typing import Any

from mlmeta.stores.api.bounded import json_object
from mlmeta.stores.api.connection import Connection, unreadable

_CURRENT_USER = "/api/2.0/mlflow/users/current"
_USER = "/api/2.0/mlflow/users/get"
"""Of servers that don't know the other yet. A user may ask for itself."""


def has_users(connection: Connection) -> bool:
    """Whether a server has basic-auth."""
    return _current(connection)[0] is not None


def hidden_from_user(connection: Connection) -> str:
    """What to know of a server with basic-auth, where this user is not an administrator; else empty.

    Such a server leaves out of its replies what a user may not see, and says nothing of it.
    """
    user, name = _current(connection)
    if user is None or user.get("is_admin") is True:
        return ""
    shown = f" {name}" if name else ""
    return f"the user{shown} is not an administrator of the server: what it may not see is neither saved nor counted"


def _current(connection: Connection) -> tuple[dict[str, Any] | None, str]:
    """What a server says of the user that asks, and that user's name where it is known; None: it has no users."""
    if connection.kind != "server":
        return None, ""
    name = getattr(connection.tracking.get_host_creds(), "username", None) or ""
    try:
        return connection.once("user", partial(_asked, connection, name)), name
    except unreadable():
        return None, name


def _asked(connection: Connection, name: str) -> dict[str, Any] | None:
    try:
        user = _user(connection, _CURRENT_USER, "")
    except unreadable():
        if not name:
            raise
        user = None
    return _user(connection, _USER, name) if user is None and name else user


def _user(connection: Connection, path: str, name: str) -> dict[str, Any] | None:
    """What the server says of a user; None: it has no users."""
    more: dict[str, Any] = {"params": {"username": name}} if name else {}
    response = connection.request("GET", path, **more)
    if response.status_code == 403:
        return {}
    user = (json_object(response) or {}).get("user") if response.status_code == 200 else None
    return user if isinstance(user, dict) else None
