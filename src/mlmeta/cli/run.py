"""Runs a command: signals, errors, exit code, and who is told of that: a file for Prometheus, a service for pings.

What the system or the environment refuses is not a bug of mlmeta.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from io import TextIOWrapper
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

from mlmeta.cli.output import Output, R
from mlmeta.errors import ExitCode, InternalError, MlmetaError, OperatingSystemError, TerminatedError, UsageError

if TYPE_CHECKING:
    from mlmeta.cli.text import Block
    from mlmeta.metrics import Sample
    from mlmeta.ping import Ping
    from mlmeta.progress import Progress

_CLEAN_UP = 5.0
"""Seconds after a signal in which another one changes nothing."""
_SPACE = "free some space there; limits (quota, ulimit -f) count as well"
_HINTS = {
    errno.ENOSPC: _SPACE,
    errno.EDQUOT: _SPACE,
    errno.EFBIG: _SPACE,
    errno.EMFILE: "allow more open files (ulimit -n), or use a smaller --jobs",
    errno.ENFILE: "the whole machine has too many open files: try again later",
    errno.EAGAIN: "allow more processes and threads (ulimit -u), or use a smaller --jobs",
    errno.ENOMEM: "give it more memory (ulimit -v, the container's limit), or use a smaller --jobs",
    errno.ENAMETOOLONG: "use a shorter path",
    errno.ELOOP: "a symbolic link there leads to itself",
    errno.EROFS: "use a place that can be written",
}
_THREADS = "can't start new thread"


def execute(
    output: Output,
    call: Callable[[Progress], R],
    view: Callable[[R], Iterable[Block]],
    watched: Watched | None = None,
) -> NoReturn:
    """Call a command's operation, show what came of it, and end the process with its exit code.

    Args:
        output: where and how results are shown.
        call: the operation; takes a listener for its progress.
        view: what people see of its result.
        watched: who is told what came of it; None: nobody.
    """
    try:
        _prepare_process(verbose=output.verbose)
        if watched is not None:
            watched.begin()
        code = _call(output, call, view)
    except KeyboardInterrupt:
        code = output.interrupted(ExitCode.INTERRUPTED)
    except TerminatedError as error:
        code = output.interrupted(error.exit_code)
    if watched is not None:
        _tell(watched, output, code)
    leave(code)


def _tell(watched: Watched, output: Output, code: int) -> None:
    """Tell who watches; whatever happens, the command has ended as it has."""
    try:
        watched.end(output, code)
    except (KeyboardInterrupt, TerminatedError):
        pass
    except Exception as error:  # noqa: BLE001 - its text stays unsaid: there may be a secret address in it
        output.warn(f"who watches was not told: unexpected {type(error).__name__}", "this is a bug in mlmeta")


def _call(output: Output, call: Callable[[Progress], R], view: Callable[[R], Iterable[Block]]) -> int:
    try:
        import_module(f"mlmeta.commands.{output.command}")  # before the collector starts, as modules are no garbage
        _collect_rarely()
        with output.progress() as progress:
            result = call(progress)
        output.result(result, view)
    except MlmetaError as error:
        return output.error(error)
    except BrokenPipeError:  # `mlmeta list | head`: the reader has seen enough
        return output.outcome.exit_code if output.outcome is not None else ExitCode.DONE
    except Exception as error:  # noqa: BLE001 - the last line of defence: a bug is reported as one, not hidden
        if (named := refused(error)) is not None:
            return output.error(named)
        message = f"unexpected {type(error).__name__}: {error}"
        return output.error(InternalError(message, hint="this is a bug in mlmeta; --verbose shows where"))
    return result.exit_code


def _collect_rarely() -> None:
    """Start the garbage collector, which `mlmeta.__main__` stopped: what is there by now is modules, which stay.

    Records have no cycles, so it looks for them more rarely than usual: that takes a tenth of the time. But what
    SQLAlchemy leaves behind after each query must go.
    """
    gc.freeze()
    gc.set_threshold(50_000, 10, 10)
    gc.enable()


def refused(error: Exception) -> MlmetaError | None:
    """The error for what the surroundings refused; None where `error` is something else."""
    if isinstance(error, OSError):
        reason = os.strerror(error.errno) if error.errno else str(error)
        where = " -> ".join(str(name) for name in (error.filename, error.filename2) if name is not None)
        message = f"the system refused: {where}: {reason}" if where else f"the system refused: {reason}"
        hint = _HINTS.get(error.errno or 0, "check that path, its permissions, and the process's limits (ulimit -a)")
        return OperatingSystemError(message, hint=hint)
    if isinstance(error, MemoryError):
        return OperatingSystemError("the system refused: there is not enough memory", hint=_HINTS[errno.ENOMEM])
    if isinstance(error, RuntimeError) and _THREADS in str(error):
        return OperatingSystemError("the system refused: no further thread", hint=_HINTS[errno.EAGAIN])
    if isinstance(error, ValueError) and _loads_mlflow(error):
        return UsageError(f"MLflow can't be loaded: {error}", hint="check the variables MLFLOW_… of the environment")
    return None


def _loads_mlflow(error: Exception) -> bool:
    """Whether it came up while MLflow's modules were imported: they read the environment."""
    frames = traceback.extract_tb(error.__traceback__)
    return any(frame.name == "<module>" and "mlflow" in Path(frame.filename).parts for frame in frames)


def _prepare_process(*, verbose: bool) -> None:
    _listen()
    _open_closed_streams()
    _prepare_mlflow(verbose=verbose)
    if not verbose:
        import logging
        import warnings

        logging.disable(logging.INFO)  # MLflow's and Alembic's own, which some versions turn on by themselves
        warnings.simplefilter("ignore")


def _prepare_mlflow(*, verbose: bool) -> None:
    """Set what MLflow's client takes from the environment and the caller has not chosen."""
    defaults = {
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "4",  # MLflow's 7 mean minutes before a lost server is noticed
        "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "60",  # a search that takes longer is asked for in smaller pages
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # stdout is for results
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_LOGGING_LEVEL": "INFO" if verbose else "ERROR",
    }
    for name, value in defaults.items():
        os.environ.setdefault(name, value)


def _open_closed_streams() -> None:
    """See that all can be said: to a stream that the caller has closed (`>&-`), and in an encoding of fewer letters."""
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115, PTH123 - for the life of the process
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115, PTH123
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


class _Ending:
    """Ends the command at the first signal, and the process at one that comes when clean-up has had its time.

    Signals come in twos: GNU `timeout` sends one to its child and one to the group, and people press Ctrl-C again.
    """

    def __init__(self) -> None:
        self._since = 0.0
        self._code = 0

    def __call__(self, number: int, _frame: FrameType | None) -> None:
        if not self._since:
            self._since, self._code = time.monotonic(), 128 + number
            raise KeyboardInterrupt if number == signal.SIGINT else TerminatedError(ExitCode(self._code))
        if time.monotonic() - self._since > _CLEAN_UP:
            os._exit(self._code)


def _listen() -> None:
    """Hear signals, but for those that the caller ignores: shells do so for jobs in the background, and `nohup`."""
    ending = _Ending()
    signal.signal(signal.SIGTERM, ending)
    for number in (signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, ending)


def leave(code: int) -> NoReturn:
    """End the process without waiting for threads: they may hang on a dead server."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):  # a reader that has gone, a full disk: said already where it matters
            stream.flush()
    os._exit(code)


@dataclass
class Watched:
    """One run of a command, and who is told of it. What fails here is a warning, and leaves the exit code alone.

    Args:
        metrics_file: of the textfile collector; empty: none.
        ping: where pings go; empty: nowhere.
        storages: that the command works on.
        source: gives the name of the source that it works on; empty: whatever the storage has.
    """

    metrics_file: str
    ping: str = field(repr=False)
    storages: Sequence[str] = ()
    source: Callable[[], str] = str
    _began: float = 0.0
    _ping: Ping | None = None

    def begin(self) -> None:
        """Say that the command begins."""
        self._began = time.monotonic()
        if self.ping:
            from mlmeta.ping import Ping

            self._ping = Ping(self.ping)
            self._ping.start()

    def end(self, output: Output, code: int) -> None:
        """Say what came of it.

        Args:
            output: that has shown it.
            code: the exit code.
        """
        if self.metrics_file:
            self._write(output, code)
        if self._ping is not None and (failure := self._ping.finish(code, output.document())):
            output.warn(f"the ping (--ping) did not arrive: {failure}", "check its address, and the network")

    def _write(self, output: Output, code: int) -> None:
        from mlmeta.metrics import update_file
        from mlmeta.redaction import without_secrets

        storage = ",".join(map(without_secrets, self.storages))
        job = {"command": output.command, "source": self.source(), "storage": storage}
        try:
            update_file(Path(self.metrics_file).expanduser(), job, self._samples(output, code))
        except MlmetaError as error:
            output.warn(f"the metrics (--metrics-file) were not written: {error}", error.hint)
        except (OSError, RuntimeError) as error:  # the latter: no home folder
            named = refused(error)
            output.warn(f"the metrics (--metrics-file) were not written: {named or error}", named.hint if named else "")

    def _samples(self, output: Output, code: int) -> list[Sample]:
        from mlmeta.metrics import DURATION, EXIT_CODE, LAST_RUN, LAST_SUCCESS, Sample

        now = time.time()
        succeeded = [Sample(LAST_SUCCESS, now)] if code == ExitCode.DONE else []
        measures = output.outcome.measures(now) if output.outcome is not None else ()
        seconds = round(time.monotonic() - self._began, 3)
        return [Sample(LAST_RUN, now), *succeeded, Sample(EXIT_CODE, code), Sample(DURATION, seconds), *measures]


def name_of_store(uri: str) -> str:
    """The name of a source, by its tracking URI or label: the one that its snapshots show."""
    from mlmeta.redaction import without_secrets
    from mlmeta.stores.opening import shown_uri

    try:
        return shown_uri(uri) if uri else ""
    except MlmetaError:
        return without_secrets(uri)
