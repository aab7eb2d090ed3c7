"""A small HTTP proxy in front of a server: counts requests, demands credentials, breaks on purpose."""

from __future__ import annotations

import base64
import http.client
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from tests.support.serving import listening

HOP = {"connection", "transfer-encoding", "keep-alive", "content-length", "host", "server", "date"}


@dataclass(frozen=True)
class Request:
    """A request that arrived; `number` counts from 1, `port` is the client's."""

    number: int
    method: str
    path: str
    body: bytes
    headers: dict[str, str]
    port: int = 0

    @property
    def writes(self) -> bool:
        """Whether it would change the store: MLflow's searches are POST requests, too."""
        return self.method != "GET" and not self.path.partition("?")[0].endswith(("/search", "/search-metadata"))


LOST = 0
Fault = Callable[[Request], "int | None"]
"""Called for each request before it goes on. A number is answered at once as HTTP status; `LOST`: the request goes
on, but its reply is lost."""


@dataclass
class Proxy:
    """A running proxy.

    Args:
        target: host and port of the server behind.
        uri: where it listens.
        fault: what it does to requests; may be changed at any time.
        alter: what it makes of a reply's body.
        page: what it says, as HTML, with a status of its own.
        prefix: path that the server seems to be below; it is taken away from requests.
    """

    target: str
    uri: str = ""
    fault: Fault = lambda _: None
    alter: Callable[[Request, bytes], bytes] = lambda _, body: body
    prefix: str = ""
    page: bytes = b""
    requests: list[Request] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, method: str, path: str, body: bytes, headers: dict[str, str], port: int) -> Request:
        with self._lock:
            request = Request(len(self.requests) + 1, method, path, body, headers, port)
            self.requests.append(request)
        return request

    @property
    def writes(self) -> list[Request]:
        """The requests that change something."""
        return [r for r in self.requests if r.writes]


@contextmanager
def proxy(uri: str, fault: Fault = lambda _: None) -> Iterator[Proxy]:
    """A proxy in front of the server at `uri`, for as long as the block lasts."""
    state = Proxy(uri.removeprefix("http://"), fault=fault)

    class Handler(_Handler):
        proxy = state

    with listening(Handler) as address:
        state.uri = f"http://{address}"
        yield state


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    proxy: Proxy
    disable_nagle_algorithm = True

    def log_message(self, *_: Any) -> None:
        pass

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        request = self.proxy.note(self.command, self.path, body, dict(self.headers.items()), self.client_address[1])
        status = self.proxy.fault(request)
        if status:
            page = self.proxy.page
            self._answer(status, {"Content-Type": "text/html" if page else "text/plain"}, page or b"no")
            return
        connection = http.client.HTTPConnection(self.proxy.target, timeout=60)
        try:
            kept = {k: v for k, v in self.headers.items() if k.lower() not in {"connection", "accept-encoding"}}
            connection.request(self.command, self.path.removeprefix(self.proxy.prefix), body, kept)
            reply = connection.getresponse()
            content = self.proxy.alter(request, reply.read())
            if status == LOST:
                self.close_connection = True
            else:
                self._answer(reply.status, dict(reply.getheaders()), content)
        except (OSError, http.client.HTTPException):  # the server behind is gone
            self.close_connection = True
        finally:
            connection.close()

    def _answer(self, status: int, headers: dict[str, str], content: bytes) -> None:
        try:
            self.send_response(status)
            for name, value in headers.items():
                if name.lower() not in HOP:
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)
        except OSError:  # the client is gone: killed, as a test wanted it
            self.close_connection = True

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _handle


def demanding(authorization: str) -> Fault:
    """A fault that answers 401 to every request without this `Authorization` header."""
    return lambda request: None if request.headers.get("Authorization") == authorization else 401


def basic(user: str, password: str) -> str:
    """The header of basic authentication."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@contextmanager
def silent_server() -> Iterator[str]:
    """A server that accepts connections and never answers."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(64)
        yield f"http://127.0.0.1:{silent.getsockname()[1]}"


@contextmanager
def static_server(
    status: int,
    content: bytes,
    kind: str = "text/html",
    *,
    headers: dict[str, str] | None = None,
    certificate: Path | None = None,
) -> Iterator[str]:
    """A web server that says the same to everything; with a certificate (and its key, one file) over TLS."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

        def _handle(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def version_string(self) -> str:
            return (headers or {}).get("Server", super().version_string())

        do_GET = do_POST = do_CONNECT = _handle

    tls = None
    if certificate is not None:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(certificate)
    with listening(Handler, tls) as address:
        yield f"{'https' if certificate else 'http'}://{address}"
