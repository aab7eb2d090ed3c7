"""How a guard is doing: as a file, and as pages for those who ask. Both may be read at any moment."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, Literal

from mlmeta.errors import UsageError
from mlmeta.guard.listener import Page
from mlmeta.metrics import (
    GUARD_EFFECTIVE_RPO,
    GUARD_EPOCH,
    GUARD_FAILURES,
    GUARD_LAG,
    GUARD_READY,
    GUARD_RPO,
    GUARD_SUPERSEDED,
    Sample,
    text_of,
    updated,
)
from mlmeta.temporary import remove_half_made, write_whole

_EVERY = 10.0
"""Seconds after which the file is written although nothing but time has passed."""
_MOST = 64 << 10
"""Bytes of a file that are looked at."""


@dataclass(frozen=True)
class Status:
    """How it is doing.

    Args:
        state: what it is at.
        rpo: seconds within which a change is to be saved.
        child: the number of the child's process; None: it has not been started yet.
        ready: whether the child has answered.
        last_success: when the last good save ended, seconds since the epoch; None: there was none.
        last_snapshot: the snapshot that has what the store had then; empty: there was none.
        last_error: why the last save failed; empty: it did not.
        failures: how many saves have failed in a row.
        duration: seconds that the last good save took.
        lag: seconds for which the oldest change has waited that is in no snapshot.
        effective_rpo: seconds within which a change is saved, at the speed of the last save.
        epoch: which of the guards of this store it is, by number; 0: it has none yet.
        superseded: whether a later one has taken over: then it goes on saving, and prunes nothing.
        exit_code: of the child; None: it runs.
    """

    state: Literal["starting", "restoring", "running", "ending", "ended"]
    rpo: float
    child: int | None = None
    ready: bool = False
    last_success: float | None = None
    last_snapshot: str = ""
    last_error: str = ""
    failures: int = 0
    duration: float = 0.0
    lag: float = 0.0
    effective_rpo: float = 0.0
    epoch: int = 0
    superseded: bool = False
    exit_code: int | None = None


def document(status: Status) -> dict[str, Any]:
    """What others get to read, and when it was told."""
    return {"schema": 1, "guard": os.getpid(), "written": round(time.time(), 3), **dataclasses.asdict(status)}


def samples_of(status: Status) -> list[Sample]:
    """What of it is measured, without labels."""
    return [
        Sample(GUARD_READY, status.ready and status.state == "running"),
        Sample(GUARD_LAG, status.lag),
        Sample(GUARD_RPO, status.rpo),
        Sample(GUARD_EFFECTIVE_RPO, max(status.rpo, status.effective_rpo)),
        Sample(GUARD_FAILURES, status.failures),
        Sample(GUARD_EPOCH, status.epoch),
        Sample(GUARD_SUPERSEDED, status.superseded),
    ]


class StatusFile:
    """The file. It is always whole.

    Args:
        path: where it is.

    Raises:
        UsageError: what is there is something else.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._last: Status | None = None
        self._written = 0.0
        _must_be_ours(path)
        remove_half_made(path)

    def write(self, status: Status) -> bool:
        """Write it, unless only time has passed, and little of that; whether it was written.

        Raises:
            OSError: it can't be written.
        """
        now = time.time()
        same = self._last is not None and dataclasses.replace(status, lag=self._last.lag) == self._last
        if same and 0 <= now - self._written < _EVERY:
            return False
        self._last, self._written = status, now
        text = json.dumps(document(status), indent=2) + "\n"
        return write_whole(self.path, text.encode(), flushed=False)  # nobody asks after a crash how it was doing


def _must_be_ours(path: Path) -> None:
    """See that no file is replaced that somebody named by mistake, such as the database, or `/dev/null`."""
    with contextlib.suppress(OSError):  # writing it will tell that better
        if path.exists() and not path.is_file():
            raise UsageError(f"{path} is not a regular file", hint="name another file with --status-file")
        with path.open("rb") as file:
            there = file.read(_MOST)
        if there and not _is_status(there):
            raise UsageError(
                f"{path} is not a guard's status file", hint="name another file with --status-file, or remove this one"
            )


def _is_status(content: bytes) -> bool:
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        return False
    return isinstance(found, dict) and {"schema", "guard", "state"} <= found.keys()


_ALIVE = 60.0
"""Seconds that a turn of the guard's loop may take."""
_METRICS = "text/plain; version=0.0.4; charset=utf-8"
_NOT_READY = {
    "starting": "the command has not been started yet",
    "restoring": "a snapshot is being restored",
    "running": "the command does not answer yet",
    "ending": "it comes to an end",
    "ended": "it has ended",
}


class Board:
    """What a guard tells of itself, in the file and to those who ask, from other threads and at any moment.

    Args:
        status: at the beginning.
        job: labels of its metrics: see `metrics.JOB`.
        file: where the status is written as well; None: nowhere.
    """

    def __init__(self, status: Status, job: Mapping[str, str], file: Path | None = None) -> None:
        self._status = status
        self._job = job
        self._file = StatusFile(file) if file is not None else None
        self._unwritten = ""
        self._samples: tuple[Sample, ...] = ()
        self._told = time.monotonic()

    @property
    def status(self) -> Status:
        """What was told last."""
        return self._status

    def tell(self, status: Status) -> str:
        """Take over how it is doing now.

        Returns:
            Why the file can't be written; empty: it can, or that was said already. It is tried again.
        """
        self._status, self._told = status, time.monotonic()
        if self._file is None:
            return ""
        before = self._unwritten
        try:
            if self._file.write(status):
                self._unwritten = ""
        except OSError as error:
            self._unwritten = f"{self._file.path} can't be written, and stays as it is: {error.strerror}"
        return self._unwritten if self._unwritten != before else ""

    def measure(self, samples: Sequence[Sample]) -> None:
        """Take over what came of a save. What it can't know stays as it was."""
        self._samples = tuple(updated(self._samples, self._job, samples))

    @property
    def pages(self) -> dict[str, Callable[[], Page]]:
        """What makes the pages of a `Listener`, by their paths."""
        return {"/healthz": self._health, "/readyz": self._readiness, "/status": self._state, "/metrics": self._metrics}

    def _health(self) -> Page:
        """Whether the guard is at work. Not before its end has it ended, however its last save goes."""
        state = self._status.state
        if state == "ended":
            return _unavailable(_NOT_READY[state])
        silent = time.monotonic() - self._told
        if state == "running" and silent > _ALIVE:
            return _unavailable(f"the guard has not looked after the command for {silent:.0f} s")
        return Page("ok\n")

    def _readiness(self) -> Page:
        status = self._status
        return Page("ok\n") if status.state == "running" and status.ready else _unavailable(_NOT_READY[status.state])

    def _state(self) -> Page:
        return Page(json.dumps(document(self._status), indent=2) + "\n", kind="application/json")

    def _metrics(self) -> Page:
        return Page(text_of(updated(self._samples, self._job, samples_of(self._status))), kind=_METRICS)


def _unavailable(why: str) -> Page:
    return Page(f"{why}\n", HTTPStatus.SERVICE_UNAVAILABLE)
