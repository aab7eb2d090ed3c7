"""The only printer: results, errors and progress, for people or as one JSON document."""

from __future__ import annotations

import contextlib
import json
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

from mlmeta import __version__
from mlmeta.cli.text import Styled, all_visible
from mlmeta.errors import ExitCode, InternalError, MlmetaError, UsageError
from mlmeta.progress import Progress, Silent
from mlmeta.visible import visible

if TYPE_CHECKING:
    from rich.console import Console

    from mlmeta.cli.progress import ScreenProgress
    from mlmeta.cli.text import Block
    from mlmeta.commands.result import Issue, Result, Status

R = TypeVar("R", bound="Result")
T = TypeVar("T")

SCHEMA = 1
_ISSUES_SHOWN = 20


@dataclass
class Output:
    """How one command shows what it does.

    Args:
        command: its name.
        json: one JSON document on stdout, and nothing else there.
        quiet: only errors and warnings.
        verbose: more detail, and tracebacks.
        show_progress: whether progress is shown on stderr.
        wide: nothing is cut to the width of the terminal.
    """

    command: str
    json: bool = False
    quiet: bool = False
    verbose: bool = False
    show_progress: bool = True
    wide: bool = False
    outcome: Result | None = field(default=None, repr=False)
    """The result; None: there is none yet, or the command failed."""
    _failure: tuple[ExitCode, str, str, str] | None = field(default=None, repr=False)
    _stdout: Console | None = field(default=None, repr=False)
    _progress: ScreenProgress | None = field(default=None, repr=False)

    @property
    def stdout(self) -> Console:
        """Where results go; made on first use."""
        if self._stdout is None:
            self._stdout = _console(sys.stdout)
        return self._stdout

    @property
    def stderr(self) -> Console:
        """Where messages go."""
        return _console(_Lossy(sys.stderr))

    @contextmanager
    def progress(self) -> Iterator[Progress]:
        """A listener that shows progress on stderr."""
        if self.quiet or not self.show_progress:
            yield Silent()
            return
        from mlmeta.cli.progress import progress

        with progress(self.stderr) as self._progress:
            yield self._progress
        self._progress = None

    def result(self, result: R, view: Callable[[R], Iterable[Block]]) -> None:
        """Show a result.

        Args:
            result: of the command.
            view: what people see of it.
        """
        self.outcome = result
        if self.json:
            self._write_document()
            return
        is_shown = not (self.quiet and result.is_report)
        if is_shown:
            self._print(view(all_visible(result)))
        if (result.warnings or result.issues) and not (is_shown and result.tells_all):
            self._messages(result)

    def _print(self, view: Iterable[Block]) -> None:
        from mlmeta.cli.screen import drawn

        stdout = self.stdout
        shown = drawn(view, wide=self.wide or self.verbose or not stdout.is_terminal)
        if stdout.is_terminal:
            stdout.print(shown, crop=False)
            return
        with stdout.capture() as captured:
            stdout.print(shown, crop=False)
        sys.stdout.writelines(f"{line.rstrip()}\n" for line in captured.get().splitlines())
        sys.stdout.flush()

    def _messages(self, result: Result) -> None:
        stderr = self.stderr
        for warning in result.warnings:
            self._say("warning", warning, style="yellow")
        shown = result.issues if self.verbose else result.issues[:_ISSUES_SHOWN]
        for issue, following in zip_longest(shown, shown[1:]):
            hint = issue.hint if following is None or following.hint != issue.hint else ""  # once for all in a row
            self._say(issue.code.replace("_", " "), issue.message, hint, style="red")
        if len(shown) < len(result.issues):
            stderr.print(f"… and {len(result.issues) - len(shown):,} more: --verbose or --json shows all")

    def _say(self, word: str, message: str, hint: str = "", *, style: str) -> None:
        """One line: what it is, in its colour, and the message; one more for what to do."""
        from mlmeta.cli.screen import drawn

        lines: list[Block] = [[Styled(f"{word}:", style), " ", visible(message)]]
        self.stderr.print(drawn([*lines, f"  {visible(hint)}"] if hint else lines), crop=False)

    def error(self, error: MlmetaError) -> int:
        """Show an error, and return its exit code. To be called while it is handled."""
        self._fail(error.exit_code, error.code, str(error), error.hint)
        if self.verbose:
            from mlmeta.redaction import without_any_secrets

            for line in without_any_secrets(traceback.format_exc()).split("\n"):
                self.stderr.print(visible(line))
        self._say("error", str(error), error.hint, style="bold red")
        return error.exit_code

    def warn(self, message: str, hint: str = "") -> None:
        """Say what went wrong beside the command, which it does not concern."""
        self._say("warning", message, hint, style="yellow")

    def note(self, message: str) -> None:
        """Say something on stderr while a command goes on."""
        from mlmeta.cli.screen import drawn

        if self._progress is not None:
            self._progress.pause()
        self.stderr.print(drawn([visible(message)]), crop=False)
        if self._progress is not None:
            self._progress.resume()

    def line(self, text: str) -> None:
        """Say something on stderr in a single line, as a log does, however narrow the terminal is."""
        stream = _Lossy(sys.stderr)
        stream.write(visible(text).replace("\n", " ") + "\n")
        stream.flush()

    def confirm(self, plan: T, view: Callable[[T], Iterable[Block]], *, question: str, unasked: str, hint: str) -> None:
        """Show a plan and ask on the terminal; no is the default.

        Args:
            plan: what would be done.
            view: what people see of it.
            question: ends with a question mark.
            unasked: what went wrong where there is no terminal to ask on.
            hint: what to do then.

        Raises:
            UsageError: the answer is no, or there is no terminal to ask on.
        """
        from mlmeta.cli.screen import asked

        self._plan(plan, view)
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise UsageError(unasked, hint=hint)
        if not asked(question, self.stderr):
            raise UsageError("nothing was changed: the answer was no", hint="--yes goes ahead without asking")
        if self._progress is not None:
            self._progress.resume()

    def plan(self, plan: T, view: Callable[[T], Iterable[Block]]) -> None:
        """Show a plan that needs no answer, on stderr, but not with --quiet."""
        if self.quiet:
            return
        self._plan(plan, view)
        if self._progress is not None:
            self._progress.resume()

    def _plan(self, plan: T, view: Callable[[T], Iterable[Block]]) -> None:
        from mlmeta.cli.screen import drawn

        if self._progress is not None:
            self._progress.pause()
        self.stderr.print(drawn(view(all_visible(plan)), wide=self.wide or self.verbose), crop=False)

    def interrupted(self, code: ExitCode) -> int:
        """Say that a signal ended the command, and return its exit code."""
        self._fail(code, "interrupted", "interrupted; cleaned up", "")
        self.stderr.print("interrupted; cleaned up")
        return code

    def _fail(self, code: ExitCode, word: str, message: str, hint: str) -> None:
        self._failure = (code, word, message, hint)
        if self.json:
            with contextlib.suppress(OSError):  # stdout is full or closed: what follows on stderr says so
                self._write_document()

    def document(self) -> dict[str, Any]:
        """What came of the command, as ``--json`` gives it. To be called once it has ended."""
        if self._failure is not None:
            from mlmeta.commands.result import Issue

            code, word, message, hint = self._failure
            return self._document(None, code, "error", (), (Issue(code=word, message=message, hint=hint),))
        result = self.outcome
        if result is None:
            raise InternalError(f"{self.command} has not ended yet")
        return self._document(_data(result), result.exit_code, result.status, result.warnings, result.issues)

    def _document(
        self,
        data: dict[str, Any] | None,
        code: int,
        status: Status,
        warnings: tuple[str, ...],
        issues: tuple[Issue, ...],
    ) -> dict[str, Any]:
        return {
            "mlmeta_version": __version__,
            "schema": SCHEMA,
            "command": self.command,
            "status": status,
            "exit_code": int(code),
            "data": data,
            "warnings": list(warnings),
            "errors": [issue.model_dump() for issue in issues],
        }

    def _write_document(self) -> None:
        ascii_only = sys.stdout.encoding.lower() != "utf-8"  # elsewhere a character could come out as no JSON
        sys.stdout.write(json.dumps(self.document(), indent=2, ensure_ascii=ascii_only, allow_nan=False) + "\n")
        sys.stdout.flush()


def _data(result: Result) -> dict[str, Any]:
    # by way of text: `model_dump` would leave NaN and infinities as floats, which JSON does not know
    from pydantic_core import PydanticSerializationError

    try:
        text = result.model_dump_json(by_alias=True, exclude={"warnings"})
    except PydanticSerializationError:  # a folder whose name is not UTF-8, which JSON has to be
        text = all_visible(result).model_dump_json(by_alias=True, exclude={"warnings"})
    data: dict[str, Any] = json.loads(text)
    return data


class _Lossy:
    """A stream for messages. Where nobody can read them (a full disk, a reader that has gone), the work goes on."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            self._stream.flush()


def _console(file: Any) -> Console:
    from mlmeta.cli.screen import console

    return console(file)
