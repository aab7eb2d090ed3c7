"""What the command of an `mlflow server` says: which store it has, and where it answers; and whether it does."""

from __future__ import annotations

import contextlib
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence

_PORT = "5000"
_ANYWHERE = {"0.0.0.0", "::", "[::]", ""}  # noqa: S104 - what a server may listen to


def store_of(command: Sequence[str], environment: Mapping[str, str]) -> str:
    """The tracking URI of its backend store; empty: it does not say."""
    return _said("--backend-store-uri", command) or environment.get("MLFLOW_BACKEND_STORE_URI", "")


def registry_of(command: Sequence[str], environment: Mapping[str, str]) -> str:
    """The URI of its model registry's store; empty: it does not say, and it is the backend store."""
    return _said("--registry-store-uri", command) or environment.get("MLFLOW_REGISTRY_STORE_URI", "")


def health_of(command: Sequence[str], environment: Mapping[str, str]) -> str:
    """The URL that answers once it can do its work, on this machine."""
    host = _said("--host", command) or _said("-h", command) or environment.get("MLFLOW_HOST", "127.0.0.1")
    port = _said("--port", command) or _said("-p", command) or environment.get("MLFLOW_PORT", _PORT)
    prefix = _said("--static-prefix", command) or environment.get("MLFLOW_STATIC_PREFIX", "")
    place = "127.0.0.1" if host in _ANYWHERE else f"[{host}]" if host.count(":") > 1 else host
    return f"http://{place}:{port}{prefix.rstrip('/')}/health"


def _said(option: str, command: Sequence[str]) -> str:
    """The value of an option, the last one where it stands there more than once."""
    found = ""
    for word, following in zip(command, [*command[1:], ""], strict=True):
        if word == option:
            found = following
        elif word.startswith(f"{option}="):
            found = word.partition("=")[2]
    return found


_PATIENCE = 1.0
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""Asks the child itself, whatever proxy the environment names."""


def answers(url: str) -> bool:
    """Whether a URL answers, be it with a refusal: then whoever is behind it is at work. It takes a second at most."""
    try:
        with _DIRECT.open(url, timeout=_PATIENCE):
            return True
    except urllib.error.HTTPError as error:
        with contextlib.closing(error):
            return error.code < 500
    except (OSError, ValueError):
        return False
