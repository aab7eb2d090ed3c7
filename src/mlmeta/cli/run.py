"""Runs a command: signals, errors, exit code."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import sys
import time
from collections.abc import Callable
from io import TextIOWrapper
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

from mlmeta.cli.output import Output
from mlmeta.errors import ExitCode, InternalError, MlmetaError, TerminatedError

if TYPE_CHECKING:
    from mlmeta.commands.result import Result
    from mlmeta.progress import Progress

_CLEAN_UP = 5.0
"""Seconds after a signal in which another one changes nothing."""


def execute(output: Output, call: Callable[[Progress], Result]) -> NoReturn:
    """Call a command's operation, show what came of it, and end the process with its exit code.

    Args:
        output: where and how results are shown.
        call: the operation; takes a listener for its progress.
    """
    try:
        _prepare_process(verbose=output.verbose)
        code = _call(output, call)
    except KeyboardInterrupt:
        code = output.interrupted(ExitCode.INTERRUPTED)
    except TerminatedError as error:
        code = output.interrupted(error.exit_code)
    leave(code)


def _call(output: Output, call: Callable[[Progress], Result]) -> int:
    try:
        with output.progress() as progress:
            result = call(_Collecting(progress))
        output.result(result)
    except MlmetaError as error:
        return output.error(error)
    except BrokenPipeError:  # `mlmeta list | head`: the reader has seen enough
        return ExitCode.DONE
    except Exception as error:  # noqa: BLE001 - the last line of defence: a bug is reported as one, not hidden
        from mlmeta.cli.surroundings import refused

        if (named := refused(error)) is not None:
            return output.error(named)
        message = f"unexpected {type(error).__name__}: {error}"
        return output.error(InternalError(message, hint="this is a bug in mlmeta; --verbose shows where"))
    return result.exit_code


class _Collecting:
    """Progress that has the garbage collector begin with the first phase: what is there by then is modules.

    It looks for cycles less often than is usual, which takes a tenth of the time: records have none. But what
    SQLAlchemy leaves behind each query must go.

    Args:
        progress: that listens.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self.expect = progress.expect
        self.advance = progress.advance

    def phase(self, name: str) -> None:
        """See `Progress.phase`."""
        if not gc.isenabled():
            gc.freeze()
            gc.set_threshold(10_000, 10, 10)
            gc.enable()
        self._progress.phase(name)


def _prepare_process(*, verbose: bool) -> None:
    _listen()
    _open_closed_streams()
    prepare_mlflow(verbose=verbose)
    if not verbose:
        import logging
        import warnings

        logging.disable(logging.INFO)  # MLflow's and Alembic's own, which some versions turn on by themselves
        warnings.simplefilter("ignore")


def prepare_mlflow(*, verbose: bool) -> None:
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
