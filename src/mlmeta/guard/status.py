"""How a guard is doing, as a file that somebody else may read at any moment."""

from __future__ import annotations

import dataclasses
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

_EVERY = 10.0
"""Seconds after which the file is written although nothing but time has passed."""


@dataclass(frozen=True)
class Status:
    """How it is doing.

    Args:
        state: what it is at.
        child: the number of the child's process.
        ready: whether the child answers.
        last_success: when the last good save ended, seconds since the epoch; None: there was none.
        last_snapshot: the snapshot that has what the store had then; empty: there was none.
        last_error: why the last save failed; empty: it did not.
        failures: how many saves have failed in a row.
        duration: seconds that the last good save took.
        lag: seconds for which the oldest change has waited that is in no snapshot.
        rpo: seconds that are wanted for this.
        effective_rpo: seconds within which a change is saved, at the speed of the last save.
        epoch: which of the guards of this store it is, by number; 0: it has none yet.
        superseded: whether a later one has taken over: then it goes on saving, and prunes nothing.
        exit_code: of the child; None: it runs.
    """

    state: Literal["running", "ending", "ended"]
    child: int
    ready: bool
    last_success: float | None
    last_snapshot: str
    last_error: str
    failures: int
    duration: float
    lag: float
    rpo: float
    effective_rpo: float
    epoch: int = 0
    superseded: bool = False
    exit_code: int | None = None


class StatusFile:
    """The file. It is always whole.

    Args:
        path: where it is.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._last: Status | None = None
        self._written = 0.0

    def write(self, status: Status) -> None:
        """Write it, unless only time has passed, and little of that.

        Raises:
            OSError: it can't be written.
        """
        now = time.time()
        same = self._last is not None and dataclasses.replace(status, lag=self._last.lag) == self._last
        if same and now - self._written < _EVERY:
            return
        self._last, self._written = status, now
        document = {"schema": 1, "guard": os.getpid(), "written": round(now, 3), **dataclasses.asdict(status)}
        new = self._path.with_name(f".{self._path.name}.{os.getpid()}.tmp")
        new.write_text(json.dumps(document, indent=2) + "\n")
        new.replace(self._path)
