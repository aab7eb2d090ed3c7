"""How far a command is, for people: a line that changes on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, Task, TaskID, TextColumn
from rich.text import Text

from mlmeta import progress as protocol
from mlmeta.cli.text import seconds
from mlmeta.schema.words import amount
from mlmeta.visible import visible

_EVERY = 10.0
"""Seconds without a line after which there is one where there is no terminal."""
_WORTH_A_WORD = 1.0
"""Seconds that a phase without counts took that leaves a line."""
_ROOM = 100
"""Columns from which on a line has room for a bar and all counts of a phase, and not just for the first."""


class ScreenProgress(protocol.Progress, Protocol):
    """Progress that can step aside for a question."""

    def pause(self) -> None:
        """Leave the screen to others."""

    def resume(self) -> None:
        """Come back."""


@contextmanager
def progress(on: Console) -> Iterator[ScreenProgress]:
    """Progress on a console. What is left of a phase, when it is over, is one line with its counts."""
    shown = _OnTerminal(on) if on.is_terminal else _InLines(on)
    shown.begin()
    try:
        yield shown
        shown.phase("")
    finally:
        shown.end()


class _Phases(ScreenProgress):
    """The phase that goes on, as a task of rich's, which smooths its rate."""

    def __init__(self, console: Console) -> None:
        self._totals: dict[str, int] = {}
        self._counts: Counter[str] = Counter()
        self._task = TaskID(0)
        self._lock = threading.RLock()
        has_room = console.width >= _ROOM
        bar = (BarColumn(16),) if has_room else ()
        name = TextColumn("{task.description}", markup=False)
        self._tasks = Progress(SpinnerColumn(), name, *bar, _Told(has_room=has_room), console=console, transient=True)

    def phase(self, name: str) -> None:
        with self._lock:
            self._close()
            if name:
                self._counts.clear()
                self._task = self._tasks.add_task(visible(name), total=None, unit="", counts=self._counts)

    def expect(self, unit: str, total: int) -> None:
        self._totals[unit] = total
        self._update(unit, 0)

    def advance(self, unit: str, amount: int = 1) -> None:
        self._counts[unit] += amount
        self._update(unit, amount)

    def _update(self, unit: str, more: int) -> None:
        """Tell of the unit that a phase is measured in: the first one that it names, or that it has some of."""
        if (task := self.current) is None:
            return
        if not task.fields["unit"]:
            self._tasks.update(self._task, unit=unit)
        if task.fields["unit"] == unit:
            total = self._totals.get(unit, 0)
            self._tasks.update(self._task, advance=more, total=total if total >= max(self._counts[unit], 1) else None)

    @property
    def current(self) -> Task | None:
        """The phase that goes on; None: there is none."""
        return self._tasks.tasks[0] if self._tasks.tasks else None

    def _close(self) -> None:
        if (task := self.current) is not None:
            self._tasks.remove_task(self._task)
            counts, took = [*_amounts(self._counts)], task.elapsed or 0
            if counts or took >= _WORTH_A_WORD:
                self.say(f"{task.description}: {', '.join([*counts, seconds(took)])}")

    def say(self, line: str) -> None:
        """A line that stays."""
        self._tasks.console.print(line, style="dim", soft_wrap=True)

    def begin(self) -> None:
        """The command begins."""

    def end(self) -> None:
        """The command is over."""

    def pause(self) -> None:
        self.end()

    def resume(self) -> None:
        self.begin()


class _OnTerminal(_Phases):
    """A line that changes while a phase goes on. It is there only then: an empty one would leave an empty line."""

    def phase(self, name: str) -> None:
        if not name:
            self.end()
        super().phase(name)
        if name:
            self.begin()

    def begin(self) -> None:
        if self.current is not None:
            self._tasks.start()

    def end(self) -> None:
        self._tasks.stop()


class _InLines(_Phases):
    """A line every ten seconds, from a thread: a phase may wait for a server without a word."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._is_over = threading.Event()
        self._said = time.monotonic()

    def say(self, line: str) -> None:
        super().say(line)
        self._said = time.monotonic()

    def begin(self) -> None:
        self._is_over = threading.Event()
        threading.Thread(target=self._tell, args=(self._is_over,), daemon=True).start()

    def end(self) -> None:
        self._is_over.set()

    def _tell(self, is_over: threading.Event) -> None:
        while not is_over.wait(_EVERY / 10):
            with self._lock:
                if (task := self.current) is not None and time.monotonic() - self._said >= _EVERY:
                    self.say(f"{task.description} … {_so_far(task, has_room=True)}")


class _Told(ProgressColumn):
    """Counts, rate and times of a phase."""

    def __init__(self, *, has_room: bool) -> None:
        super().__init__()
        self._has_room = has_room

    def render(self, task: Task) -> Text:
        return Text(_so_far(task, has_room=self._has_room), no_wrap=True, overflow="ellipsis")


def _so_far(task: Task, *, has_room: bool) -> str:
    unit, counts = task.fields["unit"], dict(task.fields["counts"])
    told = []
    if unit and (counts.get(unit) or task.total):
        of = f"{counts.pop(unit, 0):,}/{task.total:,.0f} {unit}" if task.total else amount(counts.pop(unit), unit)
        told.append(of)
    if has_room:
        told += _amounts(counts)
    if task.speed:
        told.append(f"{task.speed:,.0f}/s" if task.speed >= 1 else f"{task.speed * 60:,.0f}/min")
    told.append(_whole(task.elapsed or 0))
    if task.time_remaining:
        told.append(f"{_whole(task.time_remaining)} left")
    return ", ".join(told)


def _amounts(counts: Counter[str] | dict[str, int]) -> Iterator[str]:
    return (amount(count, unit) for unit, count in counts.items() if count)


def _whole(count: float) -> str:
    """Without tenths of a second, which would flicker."""
    return f"{count:.0f} s" if count < 60 else seconds(count)
