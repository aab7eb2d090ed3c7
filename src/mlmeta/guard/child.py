"""The child: a process group of its own, to which signals are passed on, and whose orphans are looked after."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence

from mlmeta.errors import OperatingSystemError, UsageError
from mlmeta.guard.processes import EndsWithParent, Process, can_look, descendants


class Child:
    """A command that runs.

    Args:
        command: its words; no shell reads them.
        environment: its environment.

    Raises:
        UsageError: there is no such command.
        OperatingSystemError: it can't be run.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        ends_with_parent = EndsWithParent()

        def prepare() -> None:
            os.setpgid(0, 0)
            ends_with_parent()

        try:
            self._process = subprocess.Popen(  # noqa: S603 - the person's words
                command,
                env=environment,
                preexec_fn=prepare,  # noqa: PLW1509 - there is one thread
            )
        except FileNotFoundError as error:
            raise UsageError(f"there is no command {command[0]}", hint="check its spelling, and PATH") from error
        except OSError as error:
            raise OperatingSystemError(
                f"{command[0]} can't be run: {error.strerror}", hint="check that it is a program that may be run"
            ) from error
        self.number = self._process.pid
        self.code: int | None = None
        """As `subprocess` counts it: below zero the signal that ended it; None: it runs."""

    def look(self) -> bool:
        """Whether it has ended."""
        if self.code is None:
            self.code = self._process.poll()
        return self.code is not None

    def reap(self) -> None:
        """Let go of orphans that have ended. Not while somebody else in this process waits for processes of its own."""
        self.look()
        with contextlib.suppress(ChildProcessError):
            while True:
                number, status = os.waitpid(-1, os.WNOHANG)
                if not number:
                    return
                if number == self.number:
                    self.code = self._process.returncode = os.waitstatus_to_exitcode(status)

    def signal_all(self, number: int) -> None:
        """Send a signal to its group, at once, and to those of its descendants that left the group."""
        left = self._left()
        if not self.look() or any(one.group == self.number for one in left):  # else the number may be another's by now
            with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS: nobody but zombies
                os.killpg(self.number, number)
        for one in left:
            if one.group != self.number:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(one.number, number)

    def signal_first(self, number: int) -> None:
        """Send a signal to the command itself."""
        if not self.look():
            os.kill(self.number, number)

    def _left(self) -> list[Process]:
        """Its descendants that run, where that can be seen. What is in our own group was not started by it."""
        return [one for one in descendants(os.getpid()) if one.group != os.getpgrp()]

    def is_left(self) -> bool:
        """Whether anything of it still runs."""
        if not self.look() or self._left():
            return True
        if can_look():
            return False
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.number, 0)
            return True
        return False

    @property
    def exit_code(self) -> int:
        """As a shell tells it: 128 and the signal's number where one ended it."""
        code = self.code or 0
        return 128 - code if code < 0 else code

    def ended_by(self, numbers: set[int]) -> bool:
        """Whether one of these signals ended it, or it ended well."""
        return self.code == 0 or (self.code is not None and -self.code in numbers)


ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
"""Signals that end a guard, and its child with it."""
PASSED_ON = (signal.SIGUSR1, signal.SIGUSR2)
"""Signals that are the child's own affair."""
