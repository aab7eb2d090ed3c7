"""A small HTTP server for those who watch: a few pages, one thread, and no client that could hold up another.

A client has seconds for its request, and a few kilobytes. Where there are too many of them, the one that has been there
for longest goes. Processes that are forked meanwhile have no part in it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from mlmeta.errors import UsageError

_PATIENCE = 5.0
"""Seconds that a client has for everything."""
_LINGERING = 1.0
"""Seconds in which a client that got its answer may close the connection itself."""
_MOST = 8 << 10
"""Bytes of a request."""
_IGNORED = 64 << 10
"""Bytes behind it that are read and thrown away: a client that can't send them might not see the answer."""
_CLIENTS = 32
_METHODS = ("GET", "HEAD")
_HINT = "such as 127.0.0.1:9095, [::1]:9095, or :9095 for all addresses of this machine"
TEXT = "text/plain; charset=utf-8"


@dataclass(frozen=True)
class Page:
    """What is answered.

    Args:
        text: of the answer.
        status: of HTTP.
        kind: the media type.
    """

    text: str
    status: HTTPStatus = HTTPStatus.OK
    kind: str = TEXT


class Listener:
    """Answers at an address. The port is taken at once, and answers come from `start` to `close`.

    Args:
        address: ``HOST:PORT``; an IPv6 address stands in brackets, port 0 is any that is free, and no host is all.
        pages: what makes each page, by its path; called from the listener's thread, and quick.

    Raises:
        UsageError: the address can't be used.
    """

    def __init__(self, address: str, pages: Mapping[str, Callable[[], Page]]) -> None:
        self._pages = pages
        self._socket = _bound(address)
        self._loop = asyncio.new_event_loop()
        self._clients: dict[asyncio.Task[Any], asyncio.StreamWriter] = {}
        self._thread: threading.Thread | None = None
        self._is_closed = False

    @property
    def address(self) -> str:
        """Where it answers, with the port that it got."""
        host, port = self._socket.getsockname()[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def start(self) -> None:
        """Begin to answer. From now on it stands still while this process forks."""
        serving = asyncio.start_server(self._serve, sock=self._socket, limit=_MOST)
        self._loop.run_until_complete(serving)
        self._run()
        os.register_at_fork(before=self._pause, after_in_parent=self._run, after_in_child=self._forget)

    def close(self) -> None:
        """Let go of the port and of whoever is there."""
        self._pause()
        self._is_closed = True
        self._socket.close()
        clients = list(self._clients)
        for client in clients:
            client.cancel()
        self._loop.run_until_complete(asyncio.wait(clients) if clients else asyncio.sleep(0))

    def _run(self) -> None:
        if not self._is_closed:
            self._thread = threading.Thread(target=self._loop.run_forever, name="mlmeta-listen", daemon=True)
            self._thread.start()

    def _pause(self) -> None:
        """Stop the thread; who calls meanwhile waits."""
        if self._thread is not None:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._thread = None

    def _forget(self) -> None:
        """In a forked process: keep neither the port nor a connection, and leave their numbers to nobody else."""
        self._is_closed = True
        nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        for one in (self._socket, *(client.get_extra_info("socket") for client in self._clients.values())):
            if one.fileno() >= 0:
                os.dup2(nothing, one.fileno(), inheritable=False)
        os.close(nothing)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None:  # which can't be
            return
        if len(self._clients) >= _CLIENTS:
            oldest = next(iter(self._clients))
            del self._clients[oldest]
            oldest.cancel()
        self._clients[task] = writer
        try:
            with contextlib.suppress(OSError, asyncio.TimeoutError, asyncio.CancelledError):
                await asyncio.wait_for(self._answer(reader, writer), _PATIENCE)
        finally:
            self._clients.pop(task, None)
            writer.transport.abort()  # what was to be sent has been

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await _head(reader)
        if head is None:
            page, with_text = Page("the request is too long\n", HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE), True
        elif not head:
            return
        else:
            page, with_text = self._page(head)
        writer.write(_reply(page, with_text=with_text))
        await writer.drain()
        writer.write_eof()
        await asyncio.wait_for(_ignored(reader), _LINGERING)

    def _page(self, head: bytes) -> tuple[Page, bool]:
        """The page that the first line of a request is about, and whether its text is wanted, too."""
        words = head.decode("latin-1").split()
        if len(words) != 3 or not words[2].startswith("HTTP/1."):
            return Page("this is not HTTP/1\n", HTTPStatus.BAD_REQUEST), True
        method, target, _ = words
        make = self._pages.get(target.partition("?")[0])
        if make is None:
            known = "".join(f"{path}\n" for path in self._pages)
            return Page(f"there is only:\n{known}", HTTPStatus.NOT_FOUND), method != "HEAD"
        if method not in _METHODS:
            return Page(f"only {' and '.join(_METHODS)}\n", HTTPStatus.METHOD_NOT_ALLOWED), True
        return make(), method != "HEAD"


async def _head(reader: asyncio.StreamReader) -> bytes | None:
    """The first line of a request, once all of its head is there; None: it is too long."""
    first, size = b"", 0
    try:
        while line := (await reader.readline()).strip():
            first = first or line
            size += len(line) + len(b"\r\n")
            if size > _MOST:
                return None
    except ValueError:  # a line that is longer than the reader's limit
        return None
    return first


async def _ignored(reader: asyncio.StreamReader) -> None:
    """Read what a client still sends, up to a limit, until it closes the connection."""
    size = 0
    while size < _IGNORED and (more := await reader.read(_MOST)):
        size += len(more)


def _reply(page: Page, *, with_text: bool) -> bytes:
    body = page.text.encode("utf-8", "backslashreplace")
    lines = [
        f"HTTP/1.1 {page.status.value} {page.status.phrase}",
        f"Content-Type: {page.kind}",
        f"Content-Length: {len(body)}",
        "Cache-Control: no-store",
        "X-Content-Type-Options: nosniff",
        "Connection: close",
    ]
    if page.status == HTTPStatus.METHOD_NOT_ALLOWED:
        lines.append(f"Allow: {', '.join(_METHODS)}")
    head = "\r\n".join([*lines, "", ""]).encode()
    return head + body if with_text else head


def _bound(address: str) -> socket.socket:
    host, port = _taken_apart(address)
    try:
        if not host and socket.has_dualstack_ipv6():
            return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, place = min(found, key=lambda one: one[0] != socket.AF_INET)  # localhost: as most clients do
        return socket.create_server(place[:2], family=family)
    except (OSError, UnicodeError) as error:
        why = (getattr(error, "strerror", None) or str(error)).partition(" (while")[0]  # what Python adds
        raise UsageError(
            f"{address} can't be listened to: {why}", hint="give --listen an address of this machine, and a free port"
        ) from error


def _taken_apart(address: str) -> tuple[str, int]:
    host, colon, port = address.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if not colon or not (port.isascii() and port.isdigit()) or int(port) > 65535 or (":" in host and not bracketed):
        raise UsageError(f"{address!r} is not HOST:PORT", hint=_HINT)
    return (host[1:-1] if bracketed else host), int(port)
