"""Small texts that several views need."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timezone

from rich import box, filesize
from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

_AGES = ((60, "s"), (3600, "min"), (86400, "h"), (86400 * 1000, "d"))


def size(count: int) -> str:
    """Bytes, as people write them."""
    return filesize.decimal(count)


def age(seconds: float | None) -> str:
    """How long ago, in one unit."""
    if seconds is None:
        return "?"
    if seconds < 0:
        return "in the future"
    per_unit = 1
    for limit, unit in _AGES:
        if seconds < limit:
            return f"{int(seconds / per_unit)} {unit}"
        per_unit = limit
    return f"{int(seconds / 86400)} d"


def counts(stats: Mapping[str, int]) -> str:
    """Such as ``3 experiments, 31 runs, 8,402 metric points, 2 models (3 versions)``."""
    named = [
        plural(stats[name], one)
        for name, one in (("experiments", "experiment"), ("runs", "run"), ("metric_points", "metric point"))
        if name in stats
    ]
    if stats.get("logged_models"):
        named.append(plural(stats["logged_models"], "logged model"))
    if "models" in stats:
        versions = f" ({plural(stats['model_versions'], 'version')})" if stats.get("model_versions") else ""
        named.append(plural(stats["models"], "model") + versions)
    return ", ".join(named)


def plural(count: int, one: str) -> str:
    """Such as ``1 run`` or ``1,000 runs``."""
    if count == 1:
        return f"{count:,} {one}"
    return f"{count:,} {one}{'es' if one.endswith('s') else 's'}"


def moment(milliseconds: int | None) -> str:
    """A time of MLflow's (milliseconds since the epoch), in UTC."""
    if milliseconds is None:
        return "-"
    try:
        return datetime.fromtimestamp(milliseconds / 1000, timezone.utc).strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError, OSError):  # outside the calendar, but MLflow takes it
        return str(milliseconds)


def number(value: float) -> str:
    """A metric's value, short."""
    return f"{value:.6g}"


def command(*words: str) -> str:
    """A command line that can be copied."""
    return shlex.join(words)


def table(*columns: str, right: tuple[str, ...] = ()) -> Table:
    """A table without rules: readable on a terminal, and for `awk`."""
    shown = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="bold")
    for name in columns:
        shown.add_column(name, justify="right" if name in right else "left", overflow="fold")
    return shown


def long_table(columns: Sequence[str], rows: Iterable[Sequence[str]], right: tuple[str, ...] = ()) -> Text:
    """What `table` shows, as one text: rich takes half a second to lay out the cells of a thousand rows."""
    cells = [tuple(columns), *(tuple(row) for row in rows)]
    widths = [max(map(cell_len, column)) for column in zip(*cells, strict=True)]
    lines = [_line(row, widths, [name in right for name in columns]) for row in cells]
    lines.insert(1, "─" * (sum(widths) + 3 * (len(widths) - 1)))
    shown = Text("\n".join(lines), no_wrap=True, overflow="ignore")
    shown.stylize("bold", 0, len(lines[0]))
    return shown


def _line(row: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> str:
    padded = []
    for cell, width, at_right in zip(row, widths, right, strict=True):
        space = " " * (width - cell_len(cell))
        padded.append(space + cell if at_right else cell + space)
    return "   ".join(padded).rstrip()
