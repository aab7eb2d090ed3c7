"""A real `mlflow server` process on a store of its own."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


class Server:
    """A running `mlflow server`.

    Args:
        folder: holds its database, artifacts and log.
        backend: its backend store; by default a SQLite file in the folder.
        arguments: more arguments of `mlflow server`.
        environment: more of the process's environment.
        python: the interpreter, of an environment that may have another MLflow.
    """

    def __init__(
        self,
        folder: Path,
        backend: str | None = None,
        arguments: tuple[str, ...] = (),
        environment: dict[str, str] | None = None,
        python: Path = Path(sys.executable),
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.database = folder / "mlflow.db"
        self.backend = backend or f"sqlite:///{self.database}"
        self.port = free_port()
        self.uri = f"http://127.0.0.1:{self.port}"
        self._arguments = arguments
        self._environment = environment or {}
        self._python = python
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Server:
        command = [
            *(str(self._python), "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port)),
            *("--backend-store-uri", self.backend, "--workers", "1"),
            *("--default-artifact-root", "gs://bucket/artifacts", *self._arguments),
        ]
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                start_new_session=True,
                env={**os.environ, "MLFLOW_SERVER_DISABLE_SECURITY_MIDDLEWARE": "true", **self._environment},
            )
        self._wait()
        return self

    def _wait(self) -> None:
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline:
            assert self._process is not None
            if self._process.poll() is not None:
                break
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{self.uri}/health", timeout=5) as reply:
                if reply.status == 200:
                    return
            time.sleep(0.1)
        raise RuntimeError(f"mlflow server did not start:\n{(self.folder / 'server.log').read_text()}")

    def stop(self) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None


@contextlib.contextmanager
def server(folder: Path, **kwargs: object) -> Iterator[Server]:
    """A server that ends with the block."""
    running = Server(folder, **kwargs)  # type: ignore[arg-type]
    try:
        yield running.start()
    finally:
        running.stop()
