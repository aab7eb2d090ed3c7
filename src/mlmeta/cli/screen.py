"""What rich draws: the blocks of a view, and progress. The only module that knows rich."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from rich import box
from rich.bar import Bar as RichBar
from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
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
from rich.table import Table as RichTable
from rich.text import Text

from mlmeta import progress as protocol
from mlmeta.cli import text
from mlmeta.cli.text import Bar, Block, Line, Pairs, Piece, Styled, Table
from mlmeta.visible import visible

_BAR = 40


def console(file: Any) -> Console:
    """A console that is rich on a terminal, and plain, without folding, elsewhere. Brackets and colons are text."""
    is_terminal = file.isatty()
    return Console(file=file, width=None if is_terminal else 10_000, highlight=False, markup=False, emoji=False)


def asked(question: str, on: Console) -> bool:
    """The answer of whoever sits at a terminal; no is the default."""
    from rich.prompt import Confirm

    return Confirm.ask(question, console=on, default=False)


def drawn(view: Iterable[Block]) -> RenderableType:
    """A view as something rich can print."""
    return Group(*map(_block, view))


def _block(block: Block) -> RenderableType:
    if isinstance(block, Table):
        return _long_table(block) if block.is_long else _table(block)
    return _pairs(block) if isinstance(block, Pairs) else _text(block)


def _text(line: Line) -> Text:
    if isinstance(line, list):
        return Text.assemble(*map(_text, line))
    return Text(line.text, style=line.style) if isinstance(line, Styled) else Text(line)


def _cell(cell: Piece | Bar) -> RenderableType:
    return RichBar(1, 0, cell.share, width=_BAR) if isinstance(cell, Bar) else _text(cell)


def _table(table: Table) -> RichTable:
    shown = RichTable(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="bold")
    for name in table.columns:
        shown.add_column(
            name,
            justify="right" if name in table.right else "left",
            overflow="fold",
            no_wrap=name in table.whole,
        )
    for row in table.rows:
        shown.add_row(*map(_cell, row))
    return shown


def _long_table(table: Table) -> Text:
    """What `_table` gives, as one text: rich takes half a second to lay out the cells of a thousand rows."""
    cells = [tuple(table.columns), *(tuple(_text(cell).plain for cell in row) for row in table.rows)]  # type: ignore[arg-type]
    widths = [max(map(cell_len, column)) for column in zip(*cells, strict=True)]
    lines = [_padded(row, widths, [name in table.right for name in table.columns]) for row in cells]
    lines.insert(1, "─" * (sum(widths) + 3 * (len(widths) - 1)))
    shown = Text("\n".join(lines), no_wrap=True, overflow="ignore")
    shown.stylize("bold", 0, len(lines[0]))
    return shown


def _padded(row: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> str:
    padded = []
    for cell, width, at_right in zip(row, widths, right, strict=True):
        space = " " * (width - cell_len(cell))
        padded.append(space + cell if at_right else cell + space)
    return "   ".join(padded).rstrip()


def _pairs(block: Pairs) -> RichTable:
    grid = RichTable.grid(padding=(0, 2))
    if block.title:
        grid.title, grid.title_justify, grid.title_style = f"\n{block.title}", "left", "bold"
    for key, value in block.pairs.items():
        grid.add_row(Text(key, style="cyan"), Text(value))
    return grid


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
