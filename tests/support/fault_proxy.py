"""A proxy between the storage client and the emulator that breaks things on purpose."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.support.serving import listening

_HOP = {"connection", "transfer-encoding", "keep-alive", "content-length", "date"}
RETRIED = (408, 429, 500, 502, 503, 504)


@dataclass(frozen=True)
class Request:
    """A request that arrived; `number` counts from 1."""

    number: int
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Reply:
    """What the server behind said."""

    status: int
    headers: dict[str, str]
    body: bytes


class Exchange:
    """A request and the ways to treat it: a fault calls one or two of these."""

    def __init__(self, handler: _Handler, request: Request) -> None:
        self._handler = handler
        self.request = request

    def forward(self, body: bytes | None = None) -> Reply:
        """Pass the request on, perhaps with another body of the same length."""
        plan, request = self._handler.plan, self.request
        connection = http.client.HTTPConnection(plan.target, timeout=60)
        try:
            kept = {k: v for k, v in request.headers.items() if k.lower() not in {"connection", "host"}}
            connection.request(request.method, request.path, request.body if body is None else body, kept)
            reply = connection.getresponse()
            headers = {k: v.replace(plan.target, plan.address) for k, v in reply.getheaders()}
            return Reply(reply.status, headers, reply.read())
        finally:
            connection.close()

    def answer(self, reply: Reply, *, cut: int | None = None) -> None:
        """Answer; with `cut`, break off after so many bytes of the body."""
        handler = self._handler
        handler.send_response(reply.status)
        for name, value in reply.headers.items():
            if name.lower() not in _HOP:
                handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(reply.body)))
        handler.end_headers()
        handler.wfile.write(reply.body[:cut])
        if cut is not None:
            self.drop()

    def drop(self) -> None:
        """Close the connection."""
        self._handler.close_connection = True
        with contextlib.suppress(OSError):
            self._handler.connection.shutdown(socket.SHUT_RDWR)

    def be_silent(self) -> None:
        """Neither answer nor close, until the proxy ends."""
        self._handler.close_connection = True
        self._handler.plan.ended.wait(60)


Fault = Callable[[Exchange], None]


def none(exchange: Exchange) -> None:
    """As if there were no proxy."""
    exchange.answer(exchange.forward())


def status(code: int) -> Fault:
    """Answered with this status, and not passed on."""
    return lambda exchange: exchange.answer(Reply(code, {"Content-Type": "application/json"}, b"{}"))


def drop_before(exchange: Exchange) -> None:
    """The connection breaks before the server has the request."""
    exchange.drop()


def drop_after(exchange: Exchange) -> None:
    """The server does it, and the reply is lost."""
    exchange.forward()
    exchange.drop()


def unavailable_after(exchange: Exchange) -> None:
    """The server does it, and something in between says 503."""
    exchange.forward()
    exchange.answer(Reply(503, {}, b""))


def cut(exchange: Exchange) -> None:
    """The reply breaks off in the middle of its body."""
    reply = exchange.forward()
    exchange.answer(reply, cut=len(reply.body) // 2)


def flipped_reply(exchange: Exchange) -> None:
    """A bit in the middle of the reply's body is another."""
    reply = exchange.forward()
    exchange.answer(Reply(reply.status, reply.headers, _flipped(reply.body, len(reply.body) // 2)))


def flipped_request(exchange: Exchange) -> None:
    """A bit of what is uploaded is another."""
    body = exchange.request.body
    multipart = "multipart" in exchange.request.headers.get("content-type", "")
    exchange.answer(exchange.forward(_flipped(body, body.rfind(b"\r\n\r\n") + 4 if multipart else 0)))


def without_checksums(exchange: Exchange) -> None:
    """The server tells no checksums: as of encrypted objects whose key the asking one may not use."""
    reply = exchange.forward()
    headers = {name: value for name, value in reply.headers.items() if name.lower() != "x-goog-hash"}
    body = reply.body
    if exchange.request.path.startswith(("/storage/", "/upload/")) and body.startswith(b"{"):
        body = json.dumps({k: v for k, v in json.loads(body).items() if k not in {"crc32c", "md5Hash"}}).encode()
    exchange.answer(Reply(reply.status, headers, body))


def silence(exchange: Exchange) -> None:
    """It never answers."""
    exchange.be_silent()


def _flipped(body: bytes, at: int) -> bytes:
    return body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :] if at < len(body) else body


@dataclass
class Plan:
    """A running proxy.

    Args:
        target: host and port of the server behind.
        address: host and port of the proxy.
        fault_for: what happens to a request; may be changed at any time.
        requests: that arrived since it was last cleared.
    """

    target: str
    address: str = ""
    fault_for: Callable[[Request], Fault] = lambda _: none
    requests: list[Request] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def uri(self) -> str:
        """For ``STORAGE_EMULATOR_HOST``."""
        return f"http://{self.address}"

    def note(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Request:
        """Number a request."""
        with self._lock:
            request = Request(len(self.requests) + 1, method, path, headers, body)
            self.requests.append(request)
        return request

    def heal(self) -> None:
        """From now on, nothing breaks; requests are counted from 1 again."""
        self.fault_for = lambda _: none
        with self._lock:
            self.requests.clear()

    def break_at(self, number: int, fault: Fault, *, times: int = 1, then: Fault = none) -> None:
        """From now on, the request of this number, counted from 1, meets a fault.

        Args:
            number: of the first request that meets it.
            fault: what happens.
            times: how many requests in a row meet it.
            then: what happens to all that follow.
        """
        self.heal()

        def fault_for(request: Request) -> Fault:
            if request.number < number:
                return none
            return fault if request.number < number + times else then

        self.fault_for = fault_for


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    plan: Plan

    def log_message(self, *_: Any) -> None:
        pass

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        request = self.plan.note(self.command, self.path, dict(self.headers.items()), body)
        try:
            self.plan.fault_for(request)(Exchange(self, request))
        except ConnectionError:  # one of the two sides has given up
            self.close_connection = True

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _handle


@contextmanager
def fault_proxy(target: str) -> Iterator[Plan]:
    """A proxy in front of the server at host and port `target`, for as long as the block lasts."""
    running = Plan(target)

    class Handler(_Handler):
        plan = running

    with listening(Handler) as running.address:
        try:
            yield running
        finally:
            running.ended.set()
