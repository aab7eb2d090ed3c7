"""What every command gives back."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from mlmeta.errors import ExitCode
from mlmeta.metrics import Sample

Status = Literal["success", "partial", "error"]
"""How a command went, in one word for machines."""


class Issue(BaseModel):
    """Something that did not go as it should, for people and machines.

    Args:
        code: a stable word, such as ``not_saved``.
        message: what, and where.
        hint: what to do about it.
    """

    model_config = ConfigDict(frozen=True)

    code: str
    message: str
    hint: str = ""


class Result(BaseModel):
    """Base of all results: plain data, rendered in one place.

    Args:
        warnings: what a person should know although it went well.
    """

    model_config = ConfigDict(frozen=True, ser_json_inf_nan="strings")

    warnings: tuple[str, ...] = ()

    is_report: ClassVar[bool] = True
    """Whether it only reports what was done; if not, it is what was asked for, and shown with --quiet too."""

    @property
    def issues(self) -> tuple[Issue, ...]:
        """What did not go as it should."""
        return ()

    @property
    def exit_code(self) -> ExitCode:
        """What the command says to its caller."""
        return ExitCode.DONE

    @property
    def status(self) -> Status:
        """How it went, in one word."""
        return status_of(self.exit_code)

    def measures(self, ended: float) -> tuple[Sample, ...]:
        """What monitoring is told of it, beside what it is told of every command.

        Args:
            ended: when the command ended, seconds since the epoch.
        """
        del ended
        return ()


def status_of(code: ExitCode) -> Status:
    """What an exit code says, in one word."""
    return _STATUS.get(code, "error")


_STATUS: dict[ExitCode, Status] = {ExitCode.DONE: "success", ExitCode.INCOMPLETE: "partial"}
