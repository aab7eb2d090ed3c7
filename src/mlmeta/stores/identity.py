"""Which store a tracking URI names, seen from this machine."""

from __future__ import annotations

import re
import socket
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from mlmeta.schema.identity import canonical, host_and_port, is_loopback, is_vague, sqlite_path
from mlmeta.stores.address import folder_of, kind_of

LOCALHOST = "localhost"
_RANDOM = "[bcdfghjklmnpqrstvwxz2456789]"
"""The letters and digits that Kubernetes makes names of (k8s.io/apimachinery, `rand.SafeEncodeString`)."""
_POD = re.compile(rf"(?P<name>.+?)-(?:{_RANDOM}{{6,10}}|\d{{8,10}})-{_RANDOM}{{5}}", re.ASCII)
"""A pod of a Deployment (hash of its template), or of a CronJob (minutes since the epoch)."""
_CONTAINER = re.compile(r"[0-9a-f]{12}", re.ASCII)
"""Docker's and Podman's default: the beginning of the container's id."""


def identify(
    uri: str, *, workspace: str = "", schema: str = "", socket: str = "", registry: str = "", host: str | None = None
) -> str:
    """One text for all the ways to name a store: what retention and `latest` count by.

    Args:
        uri: a tracking URI without credentials.
        workspace: of MLflow; empty: the default one.
        schema: of a database, where it is not the usual one.
        socket: that leads to a database, where it is not a usual one.
        registry: tracking URI of the model registry, which may be somewhere else.
        host: the name to put in for the loopback; None: this machine's.
    """
    name = this_machine() if host is None else host
    place = _located(uri, name)
    models = _located(registry, name) if registry else place
    more = {"schema": schema, "socket": socket, "workspace": workspace, "registry": models if models != place else ""}
    marks = "&".join(f"{key}={value}" for key, value in more.items() if value)
    return place + (f"#{marks}" if marks else "")


def _located(uri: str, host: str) -> str:
    kind, scheme = kind_of(uri), urlsplit(uri).scheme.lower()
    text = canonical(uri)
    try:
        if kind == "sqlite":
            return f"sqlite:////{str(Path(sqlite_path(uri)).resolve()).lstrip('/')}"  # POSIX keeps two slashes
        if kind == "files" and scheme in {"", "file"}:
            return f"file://{folder_of(uri).resolve()}"
    except (OSError, RuntimeError):  # no working directory any more, or a link that leads to itself
        return text
    if not is_vague(text) or "://" not in text:
        return text
    parts = urlsplit(text)
    try:
        port = host_and_port(parts, parts.scheme).rpartition("]")[2].partition(":")[2]
    except ValueError:  # a port that is no number
        return text
    return urlunsplit(parts._replace(netloc=f"{host}:{port}" if port else host))


def this_machine(name: str | None = None) -> str:
    """A name for this machine that it keeps when it starts again.

    A container gets a new host name each time: of a Kubernetes pod's the steady part is left, and Docker's, which has
    none, is `localhost`, as on Cloud Run: else each start were a source of its own, and retention kept every one.

    Args:
        name: the host name; None: ask for it.
    """
    found = (socket.gethostname() if name is None else name).lower().rstrip(".").removesuffix(".local")
    if match := _POD.fullmatch(found):
        return match["name"]
    return LOCALHOST if not found or _CONTAINER.fullmatch(found) or is_loopback(found) else found
