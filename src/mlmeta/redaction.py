"""Foreign texts made fit to be shown: without passwords and tokens, and cut to a length.

Addresses come as people write them: with schemes that nobody planned for, with misspelt ones, with passwords whose
special characters are not percent-encoded. So an address is taken apart here by a rule that errs on the safe side,
not by a parser that would take one half of a password for a host: all up to the last ``@`` is a secret.
"""

from __future__ import annotations

import base64
import json
import re
import textwrap
from collections.abc import Iterator
from urllib.parse import quote, quote_plus, unquote, unquote_plus

MASK = "***"
_LONGER_THAN_WORDS = 12
_SCHEME = re.compile(r"(?:jdbc:)?[A-Za-z][A-Za-z0-9+.\-]*:(?://)?|//")
_HOST = re.compile(r"(?:\[[0-9A-Fa-f:.%]+\]|[^:\[\]]*)(?::[0-9]{0,5})?")
_PARAMETER = re.compile(r"[?;#][A-Za-z_][\w.\-]*=")
_HARMLESS = {
    *("application_name", "cache", "charset", "connect_timeout", "database", "databasename", "dbname", "driver"),
    *("host", "mode", "options", "port", "search_path", "ssl", "ssl_mode", "sslmode", "sslrootcert", "timeout"),
    *("target_session_attrs", "trustservercertificate", "unix_socket", "user", "username", "workspace"),
}
"""Parameters of addresses whose values may be shown. What isn't known may be a secret: ``sig``, ``jwt``, ``auth``, …"""

_USERINFO = re.compile(r"(?<=://)[^\s'\"<>]{0,1000}@")  # bounded: a reply of megabytes may be full of "://"
_NAMED = re.compile(
    r"""(?P<name>(?<![\w\-])[\w\-]*(?:pass(?!ed|es|ing)|pwd|secret|token|(?:api|account|access)[_-]?key|private_key|credential|signature|jwt)[\w\-]*"""
    r"""|\bsig|\bauth|\bauthorization)(?P<between>['"]?\s*[=:]\s*)(?P<value>'[^']*'|"[^"]*"|(?:Basic\s|Bearer\s)?[^\s&;,'"]+)""",
    re.IGNORECASE,
)
_BEARER = re.compile(r"\b(Bearer|Basic)(\s+)[A-Za-z0-9._~+/=\-]{4,}")
_PRIVATE_KEY = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL)


def without_secrets(uri: str) -> str:
    """An address fit for screens, logs and snapshots.

    It has no user, no password, and no parameter that may be secret. An address without any of these stays as it is.
    """
    head, userinfo, rest = _taken_apart(uri)
    if not userinfo and not re.search(r"[?;#:]", rest):
        return uri
    place, mark, parameters = _cut(rest, ("?",) if _is_path(head, rest) else ("?", ";", "#"))
    if _has_host(head):
        hosts = place.partition("/")[0].split(",")
        if not all(map(_HOST.fullmatch, hosts)):  # what follows the colon is not a port, but a password without host
            return f"{head}{hosts[0].partition(':')[0]}:{MASK}"
    kept = [pair for pair in re.split(r"[&;#]", parameters) if pair.partition("=")[0].lower() in _HARMLESS]
    return head + place + (mark + (";" if mark == ";" else "&").join(kept) if kept and mark != "#" else "")


def secrets_in(uri: str) -> frozenset[str]:
    """What an address must not give away, each as it is written there."""
    head, userinfo, rest = _taken_apart(uri)
    password = userinfo.partition(":")[2] if _has_host(head) else userinfo
    if _has_host(head) and not all(map(_HOST.fullmatch, _cut(rest, ("/", "?", ";", "#"))[0].split(","))):
        password = rest.partition(":")[2]
    parts = password.split("@")  # a library may know where it ends, or take a part of it for a host or a path
    found = {password, *parts, *re.split(r"[:@/?#\[\]]", password)}
    _, _, parameters = _cut(rest, ("?",) if _is_path(head, rest) else ("?", ";", "#"))
    for pair in re.split(r"[&;#]", parameters):
        name, _, value = pair.partition("=")
        found |= {value} if name.lower() not in _HARMLESS else set()
    return frozenset(found - {""})


def scrubbed(message: str, *uris: str) -> str:
    """A foreign message without the secrets of some addresses, and without what looks like one.

    A secret is replaced where it stands by itself, so that the password ``x`` does not make ``does not e***ist`` of an
    error, and one that may be a common word (``mlflow``) only where a value can stand. A word that the address
    shows anyway (its host, its database) stays.

    Args:
        message: of a server, a driver, the operating system.
        uris: whose users, passwords and parameters must not be told.
    """
    shown = {word for uri in uris for word in re.split(r"\W+", without_secrets(uri))}
    for uri in sorted(filter(None, uris), key=len, reverse=True):
        message = message.replace(uri, without_secrets(uri))
    secrets = {secret for uri in uris for secret in secrets_in(uri)} - shown
    spellings = {spelling for secret in secrets for spelling in _spellings(secret)} - shown - {""}
    spellings |= {_basic(uri) for uri in uris if _taken_apart(uri)[1]}
    for spelling in sorted(spellings, key=len, reverse=True):
        before = r"(?<=[:=/@'\"])" if _may_be_a_word(spelling) else r"(?<![A-Za-z0-9])"
        message = re.sub(rf"{before}{re.escape(spelling)}(?![A-Za-z0-9])", MASK, message)
    return without_any_secrets(message)


def without_any_secrets(text: str) -> str:
    """A foreign text, such as a traceback, without what looks like a secret in it, whose ever it is."""
    text = _PRIVATE_KEY.sub(MASK, text)
    text = _BEARER.sub(rf"\1\2{MASK}", text)
    return _NAMED.sub(rf"\g<name>\g<between>{MASK}", _USERINFO.sub("", text))


def tells(text: str, *uris: str) -> bool:
    """Whether a text has a secret of some addresses in it, in any spelling, be it within a word."""
    return any(s in text for uri in uris for secret in secrets_in(uri) for s in _spellings(secret))


def cut_causes(error: BaseException, *uris: str) -> None:
    """Cut the chain of exceptions behind `error` where one tells a secret of these addresses.

    A driver's own exception may repeat the address it was given; whoever lets ours pass would log it as well.
    """
    for link in _chain(error):
        cause = link.__cause__ or link.__context__
        if cause is not None and (tells(str(cause), *uris) or tells(repr(cause), *uris)):
            link.__cause__ = link.__context__ = None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _taken_apart(uri: str) -> tuple[str, str, str]:
    """Scheme, user and password, and the rest. A path (``sqlite:///a@b.db``, ``./mlruns``) has no user."""
    match = _SCHEME.match(uri)
    head = match[0] if match else ""
    rest = uri[len(head) :]
    place, parameters = _without_parameters(head, rest)
    before, at, after = place.rpartition("@")
    if not at or _is_path(head, rest) or not (head or ":" in before):
        return head, "", rest
    return head, before, after + parameters


def _without_parameters(head: str, rest: str) -> tuple[str, str]:
    """A place and its parameters, which may have an ``@`` too. What looks like one may be within a password."""
    for mark in _PARAMETER.finditer(rest):
        authority = _cut(rest[: mark.start()].rpartition("@")[2], ("/",))[0]
        if not _has_host(head) or all(map(_HOST.fullmatch, authority.split(","))):
            return rest[: mark.start()], rest[mark.start() :]
    return rest, ""


def _is_path(head: str, rest: str) -> bool:
    """Whether an address is a place in a file system, where ``@`` and ``:`` are letters like others."""
    scheme = head.partition(":")[0].partition("+")[0].lower()
    return scheme in {"sqlite", "file", "dbfs"} and rest.startswith("/") if head else rest.startswith((".", "/", "~"))


def _has_host(head: str) -> bool:
    """Whether a host follows the scheme; in ``databricks://scope:prefix`` none does."""
    return head.endswith("//") and not head.startswith(("databricks", "uc:"))


def _cut(text: str, marks: tuple[str, ...]) -> tuple[str, str, str]:
    """Like `str.partition`, at the first of several marks."""
    places = [place for mark in marks if (place := text.find(mark)) >= 0]
    return (text[: min(places)], text[min(places)], text[min(places) + 1 :]) if places else (text, "", "")


def _spellings(secret: str) -> Iterator[str]:
    for plain in {secret, unquote(secret), unquote_plus(secret), secret.strip()}:
        yield plain
        yield quote(plain, safe="")
        yield quote_plus(plain)
        yield repr(plain)[1:-1]
        yield json.dumps(plain)[1:-1]


def _may_be_a_word(secret: str) -> bool:
    return secret.isalpha() and len(secret) < _LONGER_THAN_WORDS


def _basic(uri: str) -> str:
    """User and password as an HTTP header has them."""
    return base64.b64encode(unquote(_taken_apart(uri)[1]).encode()).decode()


def in_brief(text: str, most: int) -> str:
    """The first words of a message, on one line; ``…`` stands for what is left out.

    Args:
        text: of whatever length.
        most: characters.
    """
    flat = " ".join(text.split())
    found = textwrap.shorten(flat, most, placeholder=" …")
    return found if found != "…" else cut(flat, most)  # the first word alone is too long


def cut(value: str, most: int) -> str:
    """The beginning of a value, such as an id; ``…`` stands for the rest.

    Args:
        value: of whatever length.
        most: characters.
    """
    return value if len(value) <= most else f"{value[: most - 1]}…"
