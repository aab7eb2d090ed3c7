"""A real `mlflow server` process on a store of its own.

Its imports take four seconds of processor time, twice (the command and the process it starts), so by default it is
forked from the process that the command line's are forked from (`tests.support.cli`), which has them already: MLflow's
own command runs in it, with its own environment, folder, output and process group.

MLflow's server runs under uvicorn (its default) or gunicorn (`--gunicorn-opts`). Two thirds of what a request costs
under uvicorn are uvicorn's and its middlewares' own, so by default tests take the other one. It has no endpoint that
takes spans (`/v1/traces`).
"""

from __future__ import annotations

import contextlib
import gc
import os
import runpy
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import NoReturn

from tests.support.cli import FORKS, redirect

_GUNICORN = "--threads 8 --access-logfile - --no-control-socket"


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
        python: an interpreter that it is started with, of an environment that may have another MLflow; under uvicorn.
        uvicorn: it runs under uvicorn, and has all endpoints, such as the one that takes spans.
    """

    def __init__(
        self,
        folder: Path,
        backend: str | None = None,
        arguments: tuple[str, ...] = (),
        environment: dict[str, str] | None = None,
        python: Path | None = None,
        uvicorn: bool = False,
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
        self._front = () if uvicorn or python else ("--gunicorn-opts", _GUNICORN)
        self._log = folder / "server.log"
        self._process: ForkServerProcess | _Started | None = None

    def start(self) -> Server:
        words = [
            *("server", "--host", "127.0.0.1", "--port", str(self.port)),
            *("--backend-store-uri", self.backend, "--workers", "1"),
            *("--default-artifact-root", "gs://bucket/artifacts", *self._front, *self._arguments),
        ]
        environment = {**os.environ, "MLFLOW_SERVER_DISABLE_SECURITY_MIDDLEWARE": "true", **self._environment}
        environment.pop("PYTEST_CURRENT_TEST", None)  # MLflow would test itself, at each step of each request
        if self._python is None:
            self._process = FORKS.Process(target=_serve, args=(words, self.folder, self._log, environment))
            self._process.start()
        else:
            self._process = _Started(self._python, words, self.folder, self._log, environment)
        self._wait()
        return self

    def _wait(self) -> None:
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline:
            assert self._process is not None
            if self._process.exitcode is not None:
                break
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{self.uri}/health", timeout=5) as reply:
                if reply.status == 200:
                    return
            time.sleep(0.1)
        raise RuntimeError(f"mlflow server did not start:\n{self._log.read_text()}")

    def stop(self) -> None:
        if self._process is not None:
            assert self._process.pid is not None
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.join()
            self._process = None


@contextlib.contextmanager
def server(folder: Path, **kwargs: object) -> Iterator[Server]:
    """A server that ends with the block."""
    running = Server(folder, **kwargs)  # type: ignore[arg-type]
    try:
        yield running.start()
    finally:
        running.stop()


def quick_hashes() -> None:
    """Let passwords of basic-auth be hashed once: a server checks a user's at each request, for a tenth of a second."""
    from werkzeug import security

    security.generate_password_hash.__defaults__ = ("pbkdf2:sha256:1", 16)


class _Started:
    """A server that an interpreter was started for, with what a `multiprocessing.Process` tells of itself."""

    def __init__(self, python: Path, words: list[str], folder: Path, log: Path, environment: dict[str, str]) -> None:
        with log.open("ab") as out:
            self._process = subprocess.Popen(
                [str(python), "-m", "mlflow", *words],
                stdout=out,
                stderr=out,
                cwd=folder,
                start_new_session=True,
                env=environment,
            )
        self.pid = self._process.pid

    @property
    def exitcode(self) -> int | None:
        return self._process.poll()

    def join(self) -> None:
        self._process.wait()


def _serve(words: list[str], folder: Path, log: Path, environment: dict[str, str]) -> None:
    """What the forked process does: `mlflow server …`, whose uvicorn or gunicorn runs in this process, too."""
    os.setsid()
    log.touch()
    redirect(log, log)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    import mlflow.cli
    import mlflow.server

    quick_hashes()
    gc.set_threshold(50_000, 20, 20)  # a tenth of a server's time goes into looking for garbage, and there is little

    def in_this_process(command: list[str], extra_env: dict[str, str], **_: object) -> NoReturn:
        os.environ.update(extra_env)
        sys.argv = command[command.index("-m") + 1 :]
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
        raise SystemExit

    mlflow.server._exec_cmd = in_this_process
    mlflow.cli.cli(words, prog_name="mlflow")
