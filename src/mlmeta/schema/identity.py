"""What makes two snapshots ones of the same source: the store they were taken from, not the text that named it."""

from __future__ import annotations

import posixpath
import re
from urllib.parse import SplitResult, unquote, urlsplit

_PORTS = {"http": 80, "https": 443, "postgresql": 5432, "mysql": 3306}
_LOOPBACK = re.compile(r"|localhost|.*\.localhost|ip6-localhost|127\.\d+\.\d+\.\d+|0\.0\.0\.0|::1|::", re.ASCII)
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")


def canonical(uri: str) -> str:
    """One spelling for texts that surely name the same store: case of scheme and host, usual port, driver, last slash.

    Nothing of this machine goes in: a relative path stays relative, and the loopback stays the loopback.

    Args:
        uri: a tracking URI without credentials.
    """
    if not _SCHEME.match(uri):
        return _folder(uri)
    try:
        parts = urlsplit(uri)
        scheme = _scheme(parts.scheme)
        place = host_and_port(parts, scheme)
    except ValueError:  # a port that is not a number, or brackets that don't match
        return uri
    if scheme == "file":
        return _folder(unquote(parts.path))
    if scheme == "sqlite":
        return f"sqlite:///{_path(sqlite_path(uri))}"
    query = f"?{parts.query}" if parts.query else ""
    if "://" not in uri:
        return f"{scheme}:{parts.path}{query}"
    return f"{scheme}://{place}{parts.path.rstrip('/')}{query}"


def host_and_port(parts: SplitResult, scheme: str) -> str:
    """Host in lower case, and the port where it is not the usual one.

    Raises:
        ValueError: the port is not a number.
    """
    if scheme not in _PORTS:
        return parts.netloc
    host = (parts.hostname or "").rstrip(".")
    host = f"[{host}]" if ":" in host else host
    return host if parts.port in {None, _PORTS[scheme]} else f"{host}:{parts.port}"


def is_loopback(host: str) -> bool:
    """Whether a host name means "this machine" wherever it is read; an empty one does."""
    return _LOOPBACK.fullmatch(host.strip("[]").rstrip(".").lower()) is not None


def is_vague(uri: str) -> bool:
    """Whether a canonical URI may name another store on another machine, or in another folder."""
    if not _SCHEME.match(uri):
        return True
    try:
        parts = urlsplit(uri)
    except ValueError:
        return True
    if parts.scheme == "sqlite":
        return not posixpath.isabs(sqlite_path(uri))
    return parts.scheme in _PORTS and is_loopback(parts.hostname or "")


def sqlite_path(uri: str) -> str:
    """The path in the URI of a SQLite file: as it is, for `#` and `?` may be part of a file's name."""
    return uri.partition("///")[2]


def _scheme(text: str) -> str:
    scheme = text.lower()
    name = scheme.partition("+")[0]
    return "postgresql" if name == "postgres" else name if name in {*_PORTS, "sqlite"} else scheme


def _folder(path: str) -> str:
    found = _path(path)
    return f"file://{found}" if posixpath.isabs(found) else found


def _path(path: str) -> str:
    return posixpath.normpath(path) if path else path
