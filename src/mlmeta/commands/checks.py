"""What a doctor found: one thing that was looked at, and how that went."""

from __future__ import annotations

from enum import Enum

from pydantic import BaseModel, ConfigDict


class State(str, Enum):
    """How a check went."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


class Check(BaseModel):
    """One thing that was looked at.

    Args:
        name: a stable word, such as ``store`` or ``storage-write``.
        subject: which store or storage; empty: neither.
        state: how it went.
        message: what was found.
        hint: what to do; empty: nothing.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    subject: str = ""
    state: State = State.OK
    message: str
    hint: str = ""

    @property
    def text(self) -> str:
        """What was found, and where."""
        return f"{self.subject} {self.message}" if self.subject else self.message


def ago(seconds: float) -> str:
    """How long ago something was, in one unit."""
    return f"{duration(max(seconds, 0))} ago"


def duration(seconds: float) -> str:
    """A duration in one unit, of which there are two at least."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{int(seconds / size)} {unit}"
    return f"{int(seconds)} s"
