"""How a guard is doing, as a file that somebody else may read at any moment."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mlmeta.errors import UsageError
from mlmeta.metrics import (
    GUARD_EFFECTIVE_RPO,
    GUARD_EPOCH,
    GUARD_FAILURES,
    GUARD_LAG,
    GUARD_READY,
    GUARD_RPO,
    GUARD_SUPERSEDED,
    Sample,
)
from mlmeta.whole import remove_half_made, write_whole

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

    def write(self, status: Status) -> None:
        """Write it, unless only time has passed, and little of that.

        Raises:
            OSError: it can't be written.
        """
        now = time.time()
        same = self._last is not None and dataclasses.replace(status, lag=self._last.lag) == self._last
        if same and 0 <= now - self._written < _EVERY:
            return
        self._last, self._written = status, now
        text = json.dumps(document(status), indent=2) + "\n"
        write_whole(self.path, text.encode(), flushed=False)  # nobody asks after a crash how the guard was doing


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
