"""What a guard tells of itself: in a file, and to those who ask. They may ask from other threads at any moment."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from pathlib import Path

from mlmeta.guard.listener import Page
from mlmeta.guard.status import Status, StatusFile, document, samples_of
from mlmeta.metrics import Sample, text_of, updated

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
    """How a guard is doing.

    Args:
        status: at the beginning.
        job: labels of its metrics: see `metrics.JOB`.
        file: where the status is written as well; None: nowhere.
    """

    def __init__(self, status: Status, job: Mapping[str, str], file: Path | None = None) -> None:
        self._status = status
        self._job = job
        self._file = StatusFile(file) if file is not None else None
        self._samples: tuple[Sample, ...] = ()
        self._told = time.monotonic()

    @property
    def status(self) -> Status:
        """What was told last."""
        return self._status

    def tell(self, status: Status) -> str:
        """Take over how it is doing now.

        Returns:
            Why the file can't be written; empty: it can, or that was said already. It is not tried again.
        """
        self._status, self._told = status, time.monotonic()
        if self._file is None:
            return ""
        try:
            self._file.write(status)
        except OSError as error:
            path, self._file = self._file.path, None
            return f"{path} can't be written, and stays as it is: {error.strerror}"
        return ""

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
