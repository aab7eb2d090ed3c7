"""Tracking URIs: what kind of store they name, and how to speak of them without giving secrets away."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import parse_qsl, quote, quote_plus, unquote, urlencode, urlsplit, urlunsplit

_SECRET = re.compile(r"pass|pwd|secret|token|key|credential", re.IGNORECASE)
_USERINFO = re.compile(r"(?<=://)[^/\s]*@")
_QUERY = re.compile(r"([?&][^?&=\s]*(?:pass|pwd|secret|token|key|credential)[^?&=\s]*=)[^&\s'\"]+", re.IGNORECASE)


def kind_of(uri: str) -> str:
    """``server``, ``sqlite``, ``postgresql``, ``mysql``, ``mssql`` or ``files``."""
    scheme = urlsplit(uri).scheme.partition("+")[0].lower()
    if scheme in {"http", "https", "databricks", "databricks-uc", "uc"} or uri == "databricks":
        return "server"
    if scheme in {"sqlite", "postgresql", "mysql", "mssql"}:
        return scheme
    return "postgresql" if scheme == "postgres" else "files"


def without_secrets(uri: str) -> str:
    """The URI without user, password, and query values whose name sounds like a secret."""
    parts = urlsplit(uri)
    if not parts.scheme or not (parts.netloc or parts.query):
        return uri
    host = parts.netloc.rpartition("@")[2]
    query = urlencode([(k, v) for k, v in parse_qsl(parts.query, keep_blank_values=True) if not _SECRET.search(k)])
    text = urlunsplit((parts.scheme, host, parts.path, query, ""))
    # urlunsplit drops the empty authority of sqlite:///x
    return text if parts.netloc or "://" not in uri or "://" in text else text.replace(":", "://", 1)


def scrubbed(message: str, uri: str) -> str:
    """A foreign error message without the secrets of `uri`, and without anybody's ``user:password@``."""
    parts = urlsplit(uri)
    secrets = [parts.password, *(v for k, v in parse_qsl(parts.query) if _SECRET.search(k))]
    message = message.replace(uri, without_secrets(uri))
    for secret in filter(None, secrets):
        for spelling in (secret, unquote(secret), quote(secret, safe=""), quote_plus(secret)):
            message = message.replace(spelling, "***")
    return without_any_secrets(message)


def without_any_secrets(text: str) -> str:
    """A foreign text, such as a traceback, without what looks like a secret in any URI of it."""
    return _QUERY.sub(r"\1***", _USERINFO.sub("", text))


def folder_of(uri: str) -> Path:
    """The folder of a file store's URI (``./mlruns`` or ``file:///…``)."""
    parts = urlsplit(uri)
    return Path(unquote(parts.path)) if parts.scheme == "file" else Path(uri)
