"""What rich draws: the blocks of a view, and progress. The only module that knows rich."""

from __future__ import annotations

import re
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
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
from mlmeta.cli import curve, text
from mlmeta.cli.table import fitted, laid_out
from mlmeta.cli.text import Block, Curve, Line, Pairs, Styled, Table, Verbatim
from mlmeta.visible import visible

_KEYS = 28
"""Characters that the column of names has at most; values of longer ones begin further to the right."""
_LEAST = 10
"""Characters that a value keeps in any case."""
_WORD = re.compile(r"\s*(?:`[^`]*`|[^\s`]|`)+\s*")


def console(file: Any) -> Console:
    """A console that is rich on a terminal, and plain, without folding, elsewhere. Brackets and colons are text."""
    is_terminal = file.isatty()
    return Console(file=file, width=None if is_terminal else 10_000, highlight=False, markup=False, emoji=False)


def asked(question: str, on: Console) -> bool:
    """The answer of whoever sits at a terminal; no is the default."""
    from rich.prompt import Confirm

    return Confirm.ask(question, console=on, default=False)


def drawn(view: Iterable[Block], *, wide: bool = False) -> RenderableType:
    """A view as something rich can print.

    Args:
        view: its blocks.
        wide: whether all is shown in full, wherever the screen ends.
    """
    return Group(*(_block(block, wide=wide) for block in view))


def _block(block: Block, *, wide: bool) -> RenderableType:
    if isinstance(block, Table | Pairs | Curve):
        return _Fitted(block, wide=wide)
    if isinstance(block, Verbatim):
        return Text(block.text, style=block.style, no_wrap=True, overflow="ignore")
    return _Prose(_text(block))


def _text(line: Line) -> Text:
    if isinstance(line, list):
        return Text.assemble(*map(_text, line))
    return Text(line.text, style=line.style) if isinstance(line, Styled) else Text(line)


class _Fitted:
    """What is drawn as wide as the screen lets it."""

    def __init__(self, block: Table | Pairs | Curve, *, wide: bool) -> None:
        self._block = block
        self._wide = wide

    def __rich_console__(self, _: Console, options: ConsoleOptions) -> RenderResult:
        width = sys.maxsize if self._wide else options.max_width
        if isinstance(self._block, Table):
            yield laid_out(self._block, width)
        elif isinstance(self._block, Pairs):
            yield _pairs(self._block, width)
        else:
            yield from map(_text, curve.lines(self._block, options.max_width))


class _Prose:
    """A line that is folded between words. A word, or what stands in backticks, stays whole: somebody may copy it."""

    def __init__(self, text: Text) -> None:
        self._text = text

    def __rich_console__(self, _: Console, options: ConsoleOptions) -> RenderResult:
        for line in self._text.split("\n", allow_blank=True):
            indent = " " * (len(line.plain) - len(line.plain.lstrip()))
            folded = line.divide(_folds(line.plain, options.max_width, len(indent)))
            for number, part in enumerate(folded):
                part.rstrip()
                part.no_wrap, part.overflow = True, "ignore"
                yield Text.assemble(indent, part, no_wrap=True, overflow="ignore") if number else part


def _folds(line: str, width: int, indent: int) -> Iterator[int]:
    """Where a line is folded, so that it fits."""
    used = 0
    for word in _WORD.finditer(line):
        if used > indent and used + cell_len(word[0].rstrip()) > width:
            yield word.start()
            used = indent
        used += cell_len(word[0])


def _pairs(block: Pairs, width: int) -> Text:
    lines: list[Text] = [Text(f"\n{block.title}", style="bold")] if block.title else []
    column = min(max(map(cell_len, block.pairs), default=0), _KEYS)
    for key, value in block.pairs.items():
        name = key + " " * (column - cell_len(key)) + "  "
        shown = value if block.whole else fitted(value, max(width - cell_len(name), _LEAST))
        lines.append(Text.assemble((name, "cyan"), shown))
    joined = Text("\n").join(lines)
    joined.no_wrap, joined.overflow = True, "ignore"
    return joined


class ScreenProgress(protocol.Progress, Protocol):
    """Progress that can step aside for a question."""

    def pause(self) -> None:
        """Leave the screen to others."""

    def resume(self) -> None:
        """Come back."""


@contextmanager
def progress(on: Console) -> Iterator[ScreenProgress]:
    """Progress on a console: bars on a terminal, one plain line a phase elsewhere."""
    if not on.is_terminal:
        lines = _Lines(on)
        yield lines
        lines.pause()
        return
    bars = Progress(
        SpinnerColumn(),
        TextColumn("{task.description:<14}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        _Rate(),
        TimeRemainingColumn(elapsed_when_finished=True),
        console=on,
        transient=True,
    )
    with bars:
        yield _Bars(bars)


class _Rate(TextColumn):
    """Units a second, such as ``1,500/s``."""

    def __init__(self) -> None:
        super().__init__("")

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:,.0f}/s" if task.speed else "", style="progress.data.speed")


class _Bars(ScreenProgress):
    """A bar for each unit, and the phase above them."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}

    def phase(self, name: str) -> None:
        self._bars.console.print(f"{visible(name)} …", style="dim")

    def expect(self, unit: str, total: int) -> None:
        self._bars.update(self._task(unit), total=total)

    def advance(self, unit: str, amount: int = 1) -> None:
        self._bars.advance(self._task(unit), amount)

    def pause(self) -> None:
        self._bars.stop()

    def resume(self) -> None:
        self._bars.start()

    def _task(self, unit: str) -> TaskID:
        if unit not in self._tasks:
            self._tasks[unit] = self._bars.add_task(unit, total=None)
        return self._tasks[unit]


class _Lines(ScreenProgress):
    """One line for each phase, when it is over."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._phase = ""
        self._counts: Counter[str] = Counter()
        self._began = time.monotonic()

    def phase(self, name: str) -> None:
        self.pause()
        self._phase, self._began = visible(name), time.monotonic()
        self._counts.clear()

    def expect(self, unit: str, total: int) -> None:
        pass

    def advance(self, unit: str, amount: int = 1) -> None:
        self._counts[unit] += amount

    def resume(self) -> None:
        pass

    def pause(self) -> None:
        """Show the line of the phase that is over."""
        if self._phase:
            counts = [text.amount(count, unit) for unit, count in self._counts.items()]
            taken = f"{time.monotonic() - self._began:.1f} s"
            self._console.print(f"{self._phase}: {', '.join([*counts, taken])}")
            self._phase = ""
