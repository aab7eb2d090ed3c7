"""Pings, as healthchecks.io and what is compatible with it take them: one at the start, one at the end.

The address is a secret: whoever knows it may say that all is well. So nothing of it, and nothing that a library says
of it, gets into a message; nor does it go to where a reply would redirect to. Who has to be told decides nothing: a
ping that fails is a word on it.
"""

from __future__ import annotations

import base64
import json
import threading
import time
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

TIMEOUT = 4.0
"""Seconds to connect, and between two bytes of a reply."""
PATIENCE = 6.0
"""Seconds in all until a ping is given up, whatever it is that takes so long."""
MOST = 90_000
"""Bytes of a ping's body: healthchecks.io keeps 100 kB."""
_FIRST = 20
"""So many warnings and errors are told where there is no room for all."""
_SMALL = 2_000
"""Characters of a part of the result that are told in any case."""


def is_address(url: str) -> bool:
    """Whether pings can go there: to a host, by http or https."""
    try:
        parts = urlsplit(url)
        is_plain = url.isascii() and url.isprintable() and " " not in url
        return is_plain and parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


class Ping:
    """Pings of one run of a command.

    Args:
        url: where they go; `is_address` holds.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._started = _Request(url, "start", b"")

    def __repr__(self) -> str:
        return "Ping(***)"

    def start(self) -> None:
        """Say that the command has begun, without waiting for it."""
        self._started.send()

    def finish(self, code: int, document: dict[str, Any]) -> str:
        """Say what came of the command.

        Args:
            code: its exit code.
            document: its result as JSON.

        Returns:
            why that could not be said; empty: it was.
        """
        self._started.wait()  # the other way round it would be running again
        end = _Request(self._url, str(code), body_of(document))
        end.send()
        return end.wait()


class _Request:
    """A request in a thread of its own, as looking up a name can take longer than anybody wants to wait."""

    def __init__(self, url: str, step: str, body: bytes) -> None:
        self._url = url
        self._step = step
        self._body = body
        self._failure = f"no answer within {PATIENCE:.0f} seconds"
        self._thread = threading.Thread(target=self._run, name=f"mlmeta-ping-{step}", daemon=True)

    def send(self) -> None:
        self._thread.start()

    def wait(self) -> str:
        """Wait for it, and say why it failed; empty: it did not."""
        if self._thread.ident is not None:
            self._thread.join(PATIENCE)
        return self._failure

    def _run(self) -> None:
        began = time.monotonic()
        failure = _asked(self._url, self._step, self._body)
        if failure and time.monotonic() - began < PATIENCE - TIMEOUT:  # there is time for another try
            failure = _asked(self._url, self._step, self._body)
        self._failure = failure


def _asked(url: str, step: str, body: bytes) -> str:
    """Send a request; why it failed, in words that have nothing of the address; empty: it did not."""
    from urllib.error import HTTPError

    try:
        return _answer(url, step, body)
    except HTTPError as error:
        return f"it answers {error.code}"
    except Exception as error:  # noqa: BLE001 - whatever it is, its text may have the address in it
        return _in_words(getattr(error, "reason", None) or error)


def _in_words(reason: object) -> str:
    from ssl import SSLCertVerificationError

    if isinstance(reason, SSLCertVerificationError):
        return "its certificate is not trusted"
    if isinstance(reason, TimeoutError):
        return f"no answer within {TIMEOUT:.0f} seconds"
    return (isinstance(reason, OSError) and reason.strerror) or type(reason).__name__


def _answer(url: str, step: str, body: bytes) -> str:
    from urllib.request import HTTPRedirectHandler, Request, build_opener

    class Stay(HTTPRedirectHandler):
        def redirect_request(self, *_: Any) -> None:
            """None: what answers so is not followed."""

    address, login = _taken_apart(url, step)
    headers = {"User-Agent": "mlmeta", "Content-Type": "application/json", **login}
    request = Request(address, body, headers, method="POST")  # noqa: S310 - `is_address` has seen the scheme
    with build_opener(Stay).open(request, timeout=TIMEOUT) as reply:
        return "" if 200 <= reply.status < 300 else f"it answers {reply.status}"


def _taken_apart(url: str, step: str) -> tuple[str, dict[str, str]]:
    """The address of a step, and the header that stands for user and password, where it has them."""
    parts = urlsplit(url)
    userinfo, at, host = parts.netloc.rpartition("@")
    login = {"Authorization": f"Basic {base64.b64encode(unquote(userinfo).encode()).decode()}"} if at else {}
    return urlunsplit((parts.scheme, host, f"{parts.path.rstrip('/')}/{step}", parts.query, "")), login


def body_of(document: dict[str, Any]) -> bytes:
    """A result as a ping's body: whole, or without the parts that there is no room for, which it names."""
    body = _dumped(document)
    if len(body) <= MOST:
        return body
    data = document.get("data") or {}
    small = {name: value for name, value in data.items() if len(json.dumps(value)) <= _SMALL}
    some = {name: [_shortened(one) for one in document[name][:_FIRST]] for name in ("warnings", "errors")}
    left_out = [*(name for name in data if name not in small), *(n for n in some if len(document[n]) > _FIRST)]
    return _dumped({**document, "data": small, **some, "left_out": left_out})


def _dumped(document: dict[str, Any]) -> bytes:
    return json.dumps(document, allow_nan=False).encode()


def _shortened(one: Any) -> Any:
    if isinstance(one, dict):
        return {name: _shortened(value) for name, value in one.items()}
    return one[: _SMALL // 2] if isinstance(one, str) else one
