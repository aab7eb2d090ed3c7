"""The small HTTP server of a guard: what it answers, to whom it does not listen, and what it leaves nobody."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path

import pytest

from mlmeta.errors import UsageError
from mlmeta.guard.listener import Listener, Page

PAGES = {"/healthz": lambda: Page("ok\n")}


@contextlib.contextmanager
def listener(address: str = "127.0.0.1:0") -> Iterator[Listener]:
    found = Listener(address, PAGES)
    found.start()
    try:
        yield found
    finally:
        found.close()


def place(one: Listener) -> tuple[str, int]:
    host, _, port = one.address.rpartition(":")
    return host.strip("[]"), int(port)


def asked(one: Listener, method: str = "GET", path: str = "/healthz", body: bytes | None = None) -> HTTPResponse:
    client = HTTPConnection(*place(one), timeout=10)
    client.request(method, path, body)
    answer = client.getresponse()
    answer.text = answer.read()  # type: ignore[attr-defined]
    client.close()
    return answer


def said(one: Listener, text: bytes) -> bytes:
    """What a client gets to hear that sends something."""
    with socket.create_connection(place(one), timeout=10) as client:
        client.sendall(text)
        return b"".join(iter(lambda: client.recv(4096), b""))


def test_answers() -> None:
    with listener() as one:
        for method, path, body, code, text in (
            ("GET", "/healthz", None, 200, b"ok\n"),
            ("GET", "/healthz?x=/y", None, 200, b"ok\n"),
            ("HEAD", "/healthz", None, 200, b""),
            ("POST", "/healthz", b"x" * 60_000, 405, b"only GET and HEAD\n"),
            ("DELETE", "/healthz", None, 405, b"only GET and HEAD\n"),
            ("GET", "/../etc/passwd", None, 404, b"there is only:\n/healthz\n"),
            ("GET", "/" + "x" * 20_000, None, 431, b"the request is too long\n"),
        ):
            answer = asked(one, method, path, body)
            assert (answer.status, answer.text) == (code, text)  # type: ignore[attr-defined]
            assert int(answer.headers["Content-Length"]) == len(text) or method == "HEAD"
            assert answer.headers.get("Allow") == ("GET, HEAD" if code == 405 else None)
        for text in (
            b"\x16\x03\x01\x02\0\x01\n\n",
            b"GET /healthz\n\n",
            b"GET  HTTP/1.1\r\n\r\n",
            b"\xff \xfe \xfd\n\n",
        ):
            assert said(one, text).startswith(b"HTTP/1.1 400 ")
        assert said(one, b"GET /healthz HTTP/1.0\n\n").endswith(b"ok\n"), "line feeds will do"
        assert said(one, b"GET /healthz HTTP/1.1\r\n" + b"a: b\r\n" * 2000 + b"\r\n").startswith(b"HTTP/1.1 431 ")
        assert said(one, b"\r\n") == b""


def test_slow_clients_hold_up_nobody() -> None:
    """However many there are: no threads for them, no end of files, and they are let go of."""
    with listener() as one, contextlib.ExitStack() as stack:
        before = threading.active_count()
        slow = [stack.enter_context(socket.create_connection(place(one), timeout=10)) for _ in range(60)]
        for client in slow:
            client.sendall(b"GET /healthz HTTP/1.1\r\n")
        began = time.monotonic()
        assert asked(one).status == 200
        assert time.monotonic() - began < 3
        assert threading.active_count() == before
        for client in slow[:20]:  # more than that were too many
            with contextlib.suppress(ConnectionResetError):
                assert client.recv(10) == b""


def test_forked_processes_have_no_part_in_it() -> None:
    """Neither the port nor a connection stays open because of them; and it answers while they run."""
    with listener() as one, socket.create_connection(place(one), timeout=10) as client:
        client.sendall(b"GET /healthz HTTP/1.1\r\n")
        assert asked(one).status == 200  # by now the other one is known, too
        reading, writing = os.pipe()
        number = os.fork()
        if not number:
            os.write(writing, b"forked")
            time.sleep(60)
            os._exit(0)
        try:
            assert os.read(reading, 6)
            files = {str(file.readlink()) for file in Path(f"/proc/{number}/fd").iterdir()}
            assert str(Path(f"/proc/self/fd/{one._socket.fileno()}").readlink()) not in files
            assert asked(one).status == 200
            client.sendall(b"\r\n")
            assert b"".join(iter(lambda: client.recv(4096), b"")).endswith(b"ok\n")
            listed = ["ls", "-l", "/proc/self/fd"]
            done = subprocess.run(listed, capture_output=True, text=True, check=True, preexec_fn=lambda: None)
            assert "socket" not in done.stdout
            port = place(one)[1]
            one.close()
            with socket.create_server(("127.0.0.1", port)):
                pass
        finally:
            os.kill(number, 9)
            os.waitpid(number, 0)
            os.close(reading)
            os.close(writing)


def test_addresses() -> None:
    with listener(":0") as one, socket.create_connection(("127.0.0.1", place(one)[1]), timeout=10):
        assert asked(one).status == 200
        for address, why in (
            (f"127.0.0.1:{place(one)[1]}", "in use"),
            ("9095", "is not HOST:PORT"),
            ("::1:9095", "is not HOST:PORT"),
            ("127.0.0.1:x", "is not HOST:PORT"),
            ("127.0.0.1:65536", "is not HOST:PORT"),
            ("192.0.2.1:9095", "can't be listened to: "),
            ("no.such.invalid:9095", "can't be listened to: "),
            ("x" * 70 + ".invalid:9095", "can't be listened to: "),
        ):
            with pytest.raises(UsageError, match=why):
                Listener(address, PAGES)
    if socket.has_dualstack_ipv6():
        with listener("[::1]:0") as one:
            assert one.address.startswith("[::1]:")
            assert asked(one).status == 200
