"""A real browser, driven over the DevTools protocol by way of a pipe: no driver, no port."""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage"),
    *("--hide-scrollbars", "--force-color-profile=srgb", "--remote-debugging-pipe"),
)
PATIENCE = 60


class Tab:
    """A page in the browser: what it is told, and what it reports."""

    def __init__(self, write: int, read: int) -> None:
        self._write = write
        self._read = read
        self._numbers = itertools.count(1)
        self._rest = b""
        self._session = ""
        self.events: list[dict[str, Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command, and wait for what it gives."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + PATIENCE
        while True:
            reply = self._next(deadline)
            if reply.get("id") == number:
                assert "error" not in reply, (method, reply["error"])
                found: dict[str, Any] = reply["result"]
                return found
            self.events.append(reply)

    def _next(self, deadline: float) -> dict[str, Any]:
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._read], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, "the browser does not answer"
            block = os.read(self._read, 1 << 20)
            assert block, "the browser has ended"
            self._rest += block
        text, _, self._rest = self._rest.partition(b"\0")
        found: dict[str, Any] = json.loads(text)
        return found

    def open(self, uri: str, until: str) -> None:
        """Open an address, and wait until an expression holds."""
        self.call("Page.navigate", url=uri)
        self.await_(until)

    def run(self, script: str) -> Any:
        """The value of an expression; that of a promise, once there is one."""
        found = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def await_(self, condition: str) -> None:
        """Wait until an expression holds."""
        deadline = time.monotonic() + PATIENCE
        while not self.run(f"Boolean({condition})"):
            assert time.monotonic() < deadline, condition
            time.sleep(0.05)

    def requests(self) -> list[str]:
        """The addresses that were asked for."""
        sent = [event["params"] for event in self.events if event.get("method") == "Network.requestWillBeSent"]
        return [one["request"]["url"] for one in sent if not one["request"]["url"].startswith("data:")]

    def complaints(self) -> list[str]:
        """What stands in the console: errors, warnings, what the page's policy did not let through."""
        methods = {"Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded"}
        return [json.dumps(event["params"]) for event in self.events if event.get("method") in methods]

    def look(self, path: Path, *, width: int, height: int, scale: float = 1, full: bool = False) -> None:
        """Save what is to be seen, as PNG or WebP."""
        self.size(width, height, scale)
        time.sleep(0.7)
        if full:
            height = self.run("document.documentElement.scrollHeight")
            self.size(width, height, scale)
            time.sleep(0.5)
        kind = {"format": "webp", "quality": 82} if path.suffix == ".webp" else {"format": "png"}
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", **kind)["data"]))

    def size(self, width: int, height: int, scale: float = 1) -> None:
        """Give the window a size."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=scale,
            mobile=width < 600,
        )

    def scheme(self, name: str) -> None:
        """What the system prefers: ``light`` or ``dark``."""
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": name}])


@contextlib.contextmanager
def browser(folder: Path) -> Iterator[Tab]:
    """A browser with one page, ended at the end of the block.

    Args:
        folder: for its profile.
    """
    assert BROWSER is not None
    their_read, our_write = os.pipe()
    our_read, their_write = os.pipe()
    # the protocol wants descriptors 3 and 4; what is passed on keeps its number, so a shell puts them there
    shell = f'exec "$0" "$@" 3<&{their_read} 4>&{their_write}'
    command = ["bash", "-c", shell, BROWSER, *FLAGS, f"--user-data-dir={folder / 'profile'}"]
    process = subprocess.Popen(command, pass_fds=(their_read, their_write), stderr=subprocess.DEVNULL)
    os.close(their_read)
    os.close(their_write)
    try:
        yield Tab(our_write, our_read)
    finally:
        os.close(our_write)
        os.close(our_read)
        process.terminate()
        process.wait(PATIENCE)
