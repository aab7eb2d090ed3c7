"""A real `mlflow server` process on a SQLite file, for as long as a block lasts."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from mlmeta.errors import UnreachableError

_ENVIRONMENT = {
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # five more processes, which nobody here needs
    "MLFLOW_DISABLE_TELEMETRY": "true",
}
_PATIENCE = 90
"""Seconds until a server that does not answer is given up."""


@contextlib.contextmanager
def mlflow_server(folder: Path, artifact_root: str | None = None, port: int | None = None) -> Iterator[str]:
    """Run a server whose database is `folder`/mlflow.db.

    Args:
        folder: exists; takes the database and the server's log.
        artifact_root: for new experiments; None: a folder beside the database.
        port: on the loopback interface; None: any that is free.

    Yields:
        Its tracking URI.

    Raises:
        UnreachableError: it did not start.
    """
    port = port or _free_port()
    log = folder / "server.log"
    with log.open("ab") as output:
        process = subprocess.Popen(  # noqa: S603 - our own words
            _command(folder, port, artifact_root or str(folder / "artifacts")),
            env={**os.environ, **_ENVIRONMENT},
            stdout=output,
            stderr=output,
            cwd=folder,
            start_new_session=True,
        )
    try:
        _await(process, port, log)
        yield f"http://127.0.0.1:{port}"
    finally:
        _end(process)


def _command(folder: Path, port: int, artifact_root: str) -> list[str]:
    return [
        *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"),
        *("--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}"),
        *("--default-artifact-root", artifact_root),
    ]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _await(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline and process.poll() is None:
        with (
            contextlib.suppress(OSError),
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as reply,
        ):
            if reply.status == 200:
                return
        time.sleep(0.1)
    last = log.read_text(errors="replace").splitlines()[-1:] or ["nothing in its log"]
    raise UnreachableError(f"`mlflow server` did not start: {last[0]}", hint=f"its log is {log}")


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the server and its workers."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        pass
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
