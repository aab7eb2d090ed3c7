"""What every command gives back."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, Literal, TypeVar

from pydantic import BaseModel, ConfigDict

from mlmeta import notebook
from mlmeta.errors import ExitCode, IncompleteError
from mlmeta.metrics import Sample
from mlmeta.schema.words import amount
from mlmeta.visible import visible

R = TypeVar("R", bound="Result")

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

    tells_all: ClassVar[bool] = False
    """Whether what people see of it has all warnings and issues: they are not said once more then."""

    @property
    def issues(self) -> tuple[Issue, ...]:
        """What did not go as it should."""
        return ()

    @property
    def exit_code(self) -> int:
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

    @property
    def headline(self) -> str:
        """What came of it, in one line."""
        return ""

    def entries(self) -> Iterable[notebook.Row]:
        """What it consists of, for a table in a notebook."""
        return ()

    def require_complete(self: R) -> R:
        """The result itself, where nothing is missing or wrong.

        Raises:
            IncompleteError: something is: see `issues`. What was done stays.
        """
        issues = self.issues
        if issues and self.exit_code is not ExitCode.DONE:
            what = type(self).__name__.removesuffix("Result").lower()
            raise IncompleteError(
                f"{what} has {amount(len(issues), 'issues')}: {issues[0].message}",
                issues=tuple(f"{issue.code}: {issue.message}" for issue in issues),
                exit_code=ExitCode(self.exit_code),
                hint=issues[0].hint,
            )
        return self

    @property
    def _in_short(self) -> str:
        """The headline, and how much there is to know beside it."""
        counts = {"issues": len(self.issues), "warnings": len(self.warnings)}
        beside = [amount(count, many) for many, count in counts.items() if count]
        return "; ".join(filter(None, (self.headline, ", ".join(beside))))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {visible(self._in_short)}>"

    def __str__(self) -> str:
        return repr(self)

    def _repr_html_(self) -> str:
        issues = ({"code": one.code, "issue": one.message, "hint": one.hint} for one in self.issues)
        return notebook.page(
            type(self).__name__,
            self._in_short,
            notebook.table(self.entries()),
            notebook.table(issues),
            notebook.items("Warnings", self.warnings),
        )


def status_of(code: int) -> Status:
    """What an exit code says, in one word."""
    return _STATUS.get(code, "error")


_STATUS: dict[int, Status] = {ExitCode.DONE: "success", ExitCode.INCOMPLETE: "partial"}
