"""A real `mlflow server` process on a SQLite file, for as long as a block lasts.

It shows what somebody may have prepared, on a machine where other servers and credentials are: so it gets an
environment of its own, listens on the loopback interface only, and ends with this process, however that ends.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import site
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from mlmeta.errors import UnreachableError, UsageError
from mlmeta.temporary import scratch_folder

_TAKEN_OVER = re.compile(
    r"PATH|LANG|LANGUAGE|LC_\w+|TZ|VIRTUAL_ENV|PYTHON(PATH|HOME)|LD_LIBRARY_PATH|DYLD_\w+",
)
"""What Python needs to run. Nothing of MLflow's, no proxies, no credentials."""
_OWN = {
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # five more processes, which nobody here needs
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "GIT_PYTHON_REFRESH": "quiet",
}
_PATIENCE = 300
"""Seconds until a server that does not answer is given up. On a busy machine, its first imports take minutes."""
_ABOUT = re.compile(r"\(Background on|\[SQL|\[parameters|During handling")
"""What SQLAlchemy and Python say beside the error itself."""
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""Asks our own server, whatever proxy the environment names."""


@contextlib.contextmanager
def throwaway_folder() -> Iterator[Path]:
    """A scratch folder that goes with this process, also where it is killed."""
    with scratch_folder() as folder, _watched(["folder", folder]):
        yield folder


@contextlib.contextmanager
def mlflow_server(
    folder: Path, artifact_root: str | None = None, port: int | None = None, *, workspaces: bool = False
) -> Iterator[str]:
    """Run a server whose database is `folder`/mlflow.db.

    Args:
        folder: exists; takes the database and the server's log.
        artifact_root: for new experiments; None: a folder beside the database.
        port: on the loopback interface; None: any that is free.
        workspaces: whether the database has any beside the default one: MLflow (3.10 on) must be told then.

    Yields:
        Its tracking URI.

    Raises:
        UsageError: the port is taken.
        UnreachableError: it did not start.
    """
    port = _free_port(port)
    log = folder / "server.log"
    command = _command(folder, port, artifact_root or str(folder / "artifacts"))
    command += ["--enable-workspaces"] if workspaces else []
    with log.open("ab") as output, _watched(["server", *command], _environment(folder, port), output) as process:
        _await(process, port, log)
        yield f"http://127.0.0.1:{port}"


def _command(folder: Path, port: int, artifact_root: str) -> list[str]:
    database = f"sqlite:///{folder / 'mlflow.db'}"
    return [
        *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"),
        *("--backend-store-uri", database, "--registry-store-uri", database),
        *("--default-artifact-root", artifact_root, "--no-serve-artifacts"),
    ]


def _environment(folder: Path, port: int) -> dict[str, str]:
    return {
        **{name: value for name, value in os.environ.items() if _TAKEN_OVER.fullmatch(name)},
        **_OWN,
        "MLFLOW_SERVER_ALLOWED_HOSTS": f"127.0.0.1:{port},localhost:{port}",  # a web page could name others
        "HOME": str(folder),  # no credentials in ~/.mlflow, ~/.aws, ~/.config
        "PYTHONUSERBASE": site.getuserbase(),  # but what was installed with `pip install --user`
        "TMPDIR": str(folder),
    }


def _free_port(port: int | None) -> int:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a server that ended just now is not in the way
        try:
            probe.bind(("127.0.0.1", port or 0))
        except OSError as error:
            raise UsageError(
                f"port {port} can't be used: {error.strerror}", hint="name another one with --port, or none"
            ) from error
        found: int = probe.getsockname()[1]
        return found


@contextlib.contextmanager
def _watched(
    words: Sequence[str | Path], environment: dict[str, str] | None = None, output: BinaryIO | int = subprocess.DEVNULL
) -> Iterator[subprocess.Popen[bytes]]:
    """A watchdog, see there. The pipe's writing end is ours alone."""
    theirs, ours = os.pipe()
    try:
        process = subprocess.Popen(  # noqa: S603 - our own words
            [sys.executable, "-m", "mlmeta.stores.watchdog", str(theirs), *words],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=(theirs,),
            start_new_session=True,
        )
    except BaseException:
        os.close(ours)
        raise
    finally:
        os.close(theirs)
    try:
        yield process
    finally:
        os.close(ours)
        process.wait()
        with contextlib.suppress(ProcessLookupError):  # where somebody killed the watchdog, its group is there yet
            os.killpg(process.pid, signal.SIGKILL)


def _await(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    """Wait until it answers. Another server may have taken the port meanwhile: ours says that it listens."""
    deadline = time.monotonic() + _PATIENCE
    listens = re.compile(rf"(?:Uvicorn running on|Listening at:) http://127\.0\.0\.1:{port}\b")
    while time.monotonic() < deadline and process.poll() is None:
        if listens.search(log.read_text(errors="replace")) and _answers(port):
            return
        time.sleep(0.1)
    said = [line for line in log.read_text(errors="replace").splitlines() if line and not _ABOUT.match(line)]
    what = "did not start" if process.poll() is not None else f"did not answer in {_PATIENCE} s"
    raise UnreachableError(
        f"`mlflow server` {what}: {said[-1][:300] if said else 'nothing in its log'}",
        hint=f"check that `mlflow server` starts on this machine, and that {tempfile.gettempdir()} has room (TMPDIR)",
    )


def _answers(port: int) -> bool:
    with (
        contextlib.suppress(OSError),
        _DIRECT.open(f"http://127.0.0.1:{port}/health", timeout=5) as reply,
    ):
        return bool(reply.status == 200)
    return False
