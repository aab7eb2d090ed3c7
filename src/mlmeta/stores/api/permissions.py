"""Whether a server may hide something from us."""

from __future__ import annotations

import json
from typing import Any

from mlmeta.stores.api.connection import Connection, unreadable

_CURRENT = "/api/2.0/mlflow/users/current"
_USER = "/api/2.0/mlflow/users/get"
"""Of servers that don't know the other yet. A user may ask for itself."""


def hidden_from(connection: Connection) -> str:
    """What to know of a server with basic-auth, where this user is not an administrator; else empty.

    Such a server leaves out of its replies what a user may not see, and says nothing of it.
    """
    if connection.kind != "server":
        return ""
    user = _user(connection, _CURRENT, "")
    name = getattr(connection.tracking.get_host_creds(), "username", None) or ""
    if user is None and name:
        user = _user(connection, _USER, name)
    if user is None or user.get("is_admin") is True:
        return ""
    shown = f" {name}" if name else ""
    return f"the user{shown} is not an administrator of the server: what it may not see is neither saved nor counted"


def _user(connection: Connection, path: str, name: str) -> dict[str, Any] | None:
    """What the server says of a user; None: it has no users."""
    more: dict[str, Any] = {"params": {"username": name}} if name else {}
    try:
        response = connection.request("GET", path, **more)
    except unreadable():
        return None
    if response.status_code == 403:
        return {}
    user = _object(response.text).get("user") if response.status_code == 200 else None
    return user if isinstance(user, dict) else None


def _object(text: str) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}
