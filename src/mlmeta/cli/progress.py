"""Progress on stderr: bars on a terminal, one plain line a phase elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from mlmeta import progress as protocol
from mlmeta.cli.visible import visible


class Shown(protocol.Progress, Protocol):
    """Progress that can step aside for a question."""

    def pause(self) -> None:
        """Leave the screen to others."""

    def resume(self) -> None:
        """Come back."""


@contextmanager
def shown(console: Console) -> Iterator[Shown]:
    """A listener that shows progress on a console."""
    if not console.is_terminal:
        lines = Lines(console)
        yield lines
        lines.finish()
        return
    bars = Progress(
        SpinnerColumn(),
        TextColumn("{task.description:<14}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        _Rate(),
        TimeRemainingColumn(elapsed_when_finished=True),
        console=console,
        transient=True,
    )
    with bars:
        yield Bars(bars)


class _Rate(TextColumn):
    """Units a second."""

    def __init__(self) -> None:
        super().__init__("")

    def render(self, task: Task) -> Text:
        """Such as ``1,500/s``."""
        return Text(f"{task.speed:,.0f}/s" if task.speed else "", style="progress.data.speed")


class Bars:
    """A bar for each unit, and the phase above them."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}

    def phase(self, name: str) -> None:
        """See `mlmeta.progress.Progress`."""
        self._progress.console.print(f"{visible(name)} …", style="dim")

    def expect(self, unit: str, total: int) -> None:
        """See `mlmeta.progress.Progress`."""
        self._progress.update(self._task(unit), total=total)

    def advance(self, unit: str, amount: int = 1) -> None:
        """See `mlmeta.progress.Progress`."""
        self._progress.advance(self._task(unit), amount)

    def pause(self) -> None:
        """See `Shown`."""
        self._progress.stop()

    def resume(self) -> None:
        """See `Shown`."""
        self._progress.start()

    def _task(self, unit: str) -> TaskID:
        if unit not in self._tasks:
            self._tasks[unit] = self._progress.add_task(unit, total=None)
        return self._tasks[unit]


class Lines:
    """One line for each phase, when it is over."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._phase = ""
        self._counts: dict[str, int] = {}
        self._began = time.monotonic()

    def phase(self, name: str) -> None:
        """See `mlmeta.progress.Progress`."""
        self.finish()
        self._phase, self._counts, self._began = visible(name), {}, time.monotonic()

    def expect(self, unit: str, total: int) -> None:
        """Nothing to show."""

    def advance(self, unit: str, amount: int = 1) -> None:
        """See `mlmeta.progress.Progress`."""
        self._counts[unit] = self._counts.get(unit, 0) + amount

    def pause(self) -> None:
        """Show the line of the phase that is over."""
        self.finish()

    def resume(self) -> None:
        """Nothing to do."""

    def finish(self) -> None:
        """Show the line of the phase that is over."""
        if self._phase:
            counts = ", ".join(f"{count:,} {unit}" for unit, count in self._counts.items())
            seconds = time.monotonic() - self._began
            self._console.print(f"{self._phase}: {counts + ', ' if counts else ''}{seconds:.1f} s")
            self._phase = ""
