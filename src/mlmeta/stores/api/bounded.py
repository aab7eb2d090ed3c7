"""Requests of MLflow's client, with an end: in time, in size, and to the server that was named.

MLflow's REST stores send every request through one function, `rest_utils._get_http_response_with_retries` (2.22 to
3.17). MLflow has no official place for a transport of one's own, so `bound` puts another function there, with the same
arguments. It serves the servers that were named to it and leaves all others to MLflow's own.
"""

from __future__ import annotations

import contextlib
import functools
import http.client
import io
import json
import os
import random
import socket
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urljoin, urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError, ReadTimeoutError

from mlmeta.errors import OversizedReplyError, ReplyError
from mlmeta.redaction import cut

if TYPE_CHECKING:
    from requests import Response, Session

PATIENCE = 60.0
"""Seconds for which one request is tried again; one that takes longer from the start is let finish."""
_SLOW = 25.0
"""Seconds after which a request that got no reply is not repeated, but may be asked for less."""
MOST_BYTES = 32 * 1024 * 1024
"""Of one reply, unpacked. MLflow's pages are far smaller; a search that meets one asks for a smaller page."""
MOST_VALUES = 1_000_000
"""JSON values in one reply: each takes up to 200 bytes of memory."""
_LONGEST_BODY = 120.0
"""Seconds from the first byte of a reply to its last."""
_GRACE = 15.0
_SLOWEST = 1024
"""Bytes a second that a reply has to come with after `_GRACE` seconds."""
_CHUNK = 1 << 16
_HEADERS = 1 << 20
"""Bytes that headers and the marks between chunks may take."""
_LONGEST_PAUSE = 30.0
_MOST_IDLE = 256
"""Connections that are kept: as many as `--jobs` can be."""

WORKSPACE_HEADER = "X-MLFLOW-WORKSPACE"
"""Says which workspace a request is about (MLflow 3.10 on)."""

_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
_VARIABLES = (*_PROXIES, *map(str.upper, _PROXIES), "REQUEST_METHOD", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
"""What `requests` and `urllib` look at."""

_bounded: set[str] = set()
_thread = threading.local()


def bound(uri: str) -> bool:
    """Have all requests to a server sent in bounded time and memory, from now on.

    Args:
        uri: its tracking URI, ``http://`` or ``https://``.

    Returns:
        Whether it could be done: False where this MLflow sends requests in some other way.
    """
    from mlflow.utils import rest_utils

    original = getattr(rest_utils, "_get_http_response_with_retries", None)
    if original is None:
        return False
    _bounded.add(uri.rstrip("/"))
    if not getattr(original, "is_bounded", False):
        rest_utils._get_http_response_with_retries = _instead_of(original)
    return True


@contextlib.contextmanager
def impatient(really: bool = True) -> Iterator[None]:
    """Within the block, requests of this thread are tried twice at most, and not waited for as long."""
    before, _thread.impatient = _thread.__dict__.get("impatient"), really
    try:
        yield
    finally:
        _thread.impatient = before


@contextlib.contextmanager
def at_most(size: int) -> Iterator[None]:
    """Within the block, replies to this thread may have so many bytes; whoever asks counts their values.

    What is larger raises an `OversizedReplyError`, which MLflow's client wraps.
    """
    before, _thread.most = _thread.__dict__.get("most"), size
    try:
        yield
    finally:
        _thread.most = before


def _most_bytes() -> int:
    """Of a reply to this thread."""
    return _thread.__dict__.get("most") or MOST_BYTES


@contextlib.contextmanager
def in_workspace(name: str) -> Iterator[None]:
    """Within the block, requests of this thread are about a workspace, whatever MLFLOW_WORKSPACE says; empty: as is."""
    before, _thread.workspace = _thread.__dict__.get("workspace"), name
    try:
        yield
    finally:
        _thread.workspace = before


class Prepared:
    """A request that MLflow's client has prepared, with credentials, headers and plugins.

    Args:
        call: takes `params`, and sends it.
        since: when it was prepared (`time.monotonic`).
    """

    def __init__(self, call: Callable[..., Response], since: float) -> None:
        self.call = call
        self.since = since


def prepared(request: Callable[[], object]) -> Prepared | None:
    """What a request would send, which is not sent; None: MLflow sends it in a way that is not known here.

    Args:
        request: sends it, in this thread.
    """
    found: list[Prepared] = []
    _thread.found = found
    try:
        request()
    finally:
        _thread.found = None
    return found[0] if found else None


def _instead_of(original: Callable[..., Response]) -> Callable[..., Response]:
    @functools.wraps(original)
    def send(method: str, url: str, *args: Any, **kwargs: Any) -> Response:
        if any(url == uri or url.startswith(f"{uri}/") for uri in _bounded):
            if workspace := _thread.__dict__.get("workspace"):
                kwargs["headers"] = {**(kwargs.get("headers") or {}), WORKSPACE_HEADER: workspace}
            if (found := _thread.__dict__.get("found")) is not None:
                found.append(Prepared(functools.partial(_send, method, url, *args, **kwargs), time.monotonic()))
                return _nothing()
            return _send(method, url, *args, **kwargs)
        return original(method, url, *args, **kwargs)

    send.is_bounded = True  # type: ignore[attr-defined]
    return send


def _nothing() -> Response:
    """The reply to a request that is not sent."""
    reply = requests.Response()
    reply.status_code, reply._content = requests.codes.ok, b"{}"
    return reply


def _send(
    method: str,
    url: str,
    max_retries: int,
    backoff_factor: float,
    backoff_jitter: float,
    retry_codes: frozenset[int],
    *_: Any,
    **kwargs: Any,
) -> Response:
    """Send a request, again where that may help: the last reply, or the last failure.

    MLflow raises for a status that it has tried again; here the reply comes back, for what the server says is in it.
    """
    for name in ("raise_on_status", "respect_retry_after_header", "allow_redirects"):
        kwargs.pop(name, None)
    began = time.monotonic()
    most = min(1, max_retries) if _is_impatient() else max_retries
    kwargs["timeout"] = min(_SLOW, kwargs["timeout"]) if _is_impatient() else kwargs["timeout"]
    for attempt in range(most + 1):
        last = attempt == most
        try:
            reply = _session(os.getpid()).request(method, url, **kwargs)
        except (requests.ConnectionError, requests.Timeout):
            if last or time.monotonic() - began > _SLOW:
                raise
            pause = _pause(attempt, backoff_factor, backoff_jitter)
        else:
            if reply.status_code not in retry_codes:
                return _judged(reply)
            pause = retry_after(reply) or _pause(attempt, backoff_factor, backoff_jitter)
            if last or time.monotonic() + pause - began > PATIENCE:
                return reply
        time.sleep(pause)
    raise AssertionError  # the last attempt returns or raises


def _is_impatient() -> bool:
    return bool(_thread.__dict__.get("impatient"))


def _pause(attempt: int, factor: float, jitter: float) -> float:
    """As urllib3 does it: the first retry comes at once, then with pauses that double."""
    return min(_LONGEST_PAUSE, factor * 2**attempt + random.random() * jitter) if attempt else 0.0  # noqa: S311


def retry_after(reply: Response) -> float | None:
    """Seconds that the server asks to wait; None where it does not say, or not in a way that makes sense."""
    from datetime import datetime, timezone
    from email.utils import parsedate_to_datetime

    said = reply.headers.get("Retry-After", "").strip()
    with contextlib.suppress(ValueError, OverflowError):
        return float(int(said))
    with contextlib.suppress(ValueError, TypeError, IndexError, OverflowError):
        return max(0.0, (parsedate_to_datetime(said) - datetime.now(timezone.utc)).total_seconds())
    return None


@functools.lru_cache(maxsize=2)
def _session(_pid: int) -> Session:
    """One a process: connections must not be shared with a fork."""
    session = _Session()
    session.headers["Accept-Encoding"] = "gzip, deflate"
    session.hooks["response"].append(_complete)
    for scheme in ("http://", "https://"):
        session.mount(scheme, _Adapter(pool_connections=_MOST_IDLE, pool_maxsize=_MOST_IDLE))
    return session


class _Session(requests.Session):
    """Works out what the environment says of proxies and certificates once, and not for each request.

    That takes a third of the time of a small one.
    """

    def __init__(self) -> None:
        super().__init__()
        self._known: dict[tuple[Any, ...], Any] = {}

    def merge_environment_settings(self, url: Any, proxies: Any, stream: Any, verify: Any, cert: Any) -> Any:
        """See `requests`. What was worked out holds for a server as long as the variables say the same."""
        if proxies:
            return super().merge_environment_settings(url, proxies, stream, verify, cert)
        key = (*urlsplit(url)[:2], stream, verify, cert, *map(os.environ.get, _VARIABLES))
        if key not in self._known:
            self._known[key] = super().merge_environment_settings(url, proxies, stream, verify, cert)
        return self._known[key]


def _complete(reply: Response, **_: Any) -> Response:
    """Read a reply's body, as far as it may go; `requests` would read all of it next."""
    try:
        _must_stay(reply)
        reply._content = _unpacked(_body(reply), reply.headers.get("Content-Encoding", ""))
    except BaseException:
        reply.close()
        raise
    reply._content_consumed = True  # type: ignore[attr-defined]
    return reply


def _body(reply: Response) -> bytes:
    chunks: list[bytes] = []
    size = 0
    try:
        while chunk := reply.raw.read(_CHUNK, decode_content=False):
            chunks.append(chunk)
            size += len(chunk)
            _must_fit(size)
    except ReadTimeoutError as error:
        raise requests.ReadTimeout(f"the reply stopped, or came too slowly: {error}", response=reply) from error
    except (HTTPError, OSError, http.client.HTTPException) as error:
        raise requests.ConnectionError(f"the reply broke off: {error}", response=reply) from error
    return b"".join(chunks)


def _unpacked(body: bytes, encoding: str) -> bytes:
    """The body without its compression: by hand, for `requests` unpacks without a limit, and what is packed twice."""
    if not body or encoding.strip().lower() in {"", "identity"}:
        return body
    if encoding.strip().lower() not in {"gzip", "x-gzip", "deflate"}:
        raise ReplyError(f"the reply is encoded as {cut(encoding, 40)!r}, which was not asked for")
    decoder = zlib.decompressobj(zlib.MAX_WBITS | 32)  # tells gzip from zlib by itself
    try:
        found = decoder.decompress(body, _most_bytes() + 1)
    except zlib.error as error:
        raise ReplyError(f"the reply can't be unpacked: {error}") from error
    _must_fit(len(found))
    if not decoder.eof:
        raise ReplyError("the reply can't be unpacked: it is cut off")
    return found


def _must_fit(size: int) -> None:
    most = _most_bytes()
    if size > most:
        raise OversizedReplyError(f"the reply is larger than {most >> 20} MiB")


def _must_stay(reply: Response) -> None:
    """See that a redirect stays at the server, or goes from its http to its https: credentials go along."""
    if not reply.is_redirect:
        return
    target = urljoin(reply.request.url or "", reply.headers["Location"])
    leaves = requests.Session().should_strip_auth(reply.request.url or "", target)  # type: ignore[no-untyped-call]
    if leaves or not _redirects_allowed():
        place = urlsplit(target)
        raise ReplyError(f"the reply redirects to {place.scheme}://{place.hostname}, where credentials are not sent")


def _redirects_allowed() -> bool:
    from mlflow.environment_variables import MLFLOW_ALLOW_HTTP_REDIRECTS

    return bool(MLFLOW_ALLOW_HTTP_REDIRECTS.get())


def _judged(reply: Response) -> Response:
    """See that a reply of MLflow's API may be parsed: a JSON object of a bearable size."""
    path = urlsplit(reply.url).path
    if reply.status_code != requests.codes.ok or "api/" not in path or "/mlflow/" not in path:
        return reply
    body = reply.content
    if not body.strip():
        raise ReplyError("the reply is empty, which is not what an MLflow server sends")
    if not body.lstrip().startswith(b"{"):
        raise ReplyError(f"the reply is {_kind_of(reply)}, not what an MLflow server sends (a login page, a proxy?)")
    if _thread.__dict__.get("most") is None and sum(map(body.count, (b",", b"[", b"{"))) > MOST_VALUES:
        raise ReplyError(f"the reply has more than {MOST_VALUES:,} values")
    return reply


def json_object(reply: Response) -> dict[str, Any] | None:
    """The JSON object that a reply is; None: it is something else."""
    try:
        content = json.loads(reply.content)
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def _kind_of(reply: Response) -> str:
    kind = reply.headers.get("Content-Type", "").partition(";")[0].strip()
    return cut(kind, 60) if kind and kind != "application/json" else "not a JSON object"


class _Paced(io.RawIOBase):
    """What a socket receives, as long as it comes fast enough: a time-out for each byte alone lets a reply drip.

    Args:
        raw: of the socket.
    """

    def __init__(self, raw: io.RawIOBase) -> None:
        self._raw = raw
        self._first = 0.0
        self._size = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._must_go_on()
        count = self._raw.readinto(buffer)
        self._first = self._first or time.monotonic()
        self._size += count or 0
        return count

    def _must_go_on(self) -> None:
        _must_fit(self._size - _HEADERS)
        seconds = time.monotonic() - self._first if self._first else 0.0
        if seconds > _LONGEST_BODY or (seconds > _GRACE and self._size < _SLOWEST * seconds):
            raise TimeoutError(f"{self._size:,} bytes in {seconds:.0f} seconds")

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Reply(http.client.HTTPResponse):
    """A reply whose status line, headers and body all come through `_Paced`."""

    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.fp = io.BufferedReader(_Paced(self.fp.detach()))


class _Connection(HTTPConnection):
    response_class = _Reply


class _SecureConnection(HTTPSConnection):
    response_class = _Reply


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


class _Adapter(HTTPAdapter):
    """Sends over connections that read at a pace; tries nothing again by itself."""

    _POOLS: ClassVar[dict[str, type]] = {"http": _Pool, "https": _SecurePool}

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = self._POOLS

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(*args, **kwargs)
        manager.pool_classes_by_scheme = self._POOLS
        return manager
