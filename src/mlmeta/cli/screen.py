"""What rich draws of a view: its blocks, in the width of the screen."""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Iterable, Iterator
from typing import Any

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.text import Text

from mlmeta.cli import curve
from mlmeta.cli.table import fitted, laid_out
from mlmeta.cli.text import Block, Curve, Line, Pairs, Styled, Table, Terms, Verbatim

_KEYS = 28
"""Characters that the column of names has at most; values of longer ones begin further to the right."""
_TERMS = 25
"""Characters that names have beside texts; those about longer ones begin on the next line."""
_LEAST = 10
"""Characters that a value keeps in any case."""
_INDENT = re.compile(r"\w+ {2,}| *(?:[~+-] )?")
"""How a line begins below whose text its other lines begin, too: blanks, the sign of a change, a word in a column."""
_WORD = re.compile(r"\s*(?:`[^`]*`|[^\s`]|`)+\s*")


def console(file: Any) -> Console:
    """A console that is rich on a terminal, and plain, without folding, elsewhere. Brackets and colons are text."""
    is_terminal = file.isatty()
    return Console(file=file, width=None if is_terminal else 10_000, highlight=False, markup=False, emoji=False)


def asked(question: str, on: Console) -> bool:
    """The answer of whoever sits at a terminal; no is the default."""
    from rich.prompt import Confirm

    try:
        return Confirm.ask(question, console=on, default=False)
    except EOFError:  # Ctrl-D
        return False


def drawn(view: Iterable[Block], *, wide: bool = False) -> RenderableType:
    """A view as something rich can print.

    Args:
        view: its blocks.
        wide: whether all is shown in full, wherever the screen ends.
    """
    return Group(*(_block(block, wide=wide) for block in view))


def page(view: Iterable[Block], width: int, *, colours: bool) -> str:
    """A view as text, in lines of so many characters."""
    on = Console(file=io.StringIO(), width=width, force_terminal=colours, highlight=False, markup=False, emoji=False)
    with on.capture() as captured:
        on.print(drawn(view), crop=False)
    return "\n".join(line.rstrip() for line in captured.get().splitlines())


def _block(block: Block, *, wide: bool) -> RenderableType:
    if isinstance(block, Table | Pairs | Terms | Curve):
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

    def __init__(self, block: Table | Pairs | Terms | Curve, *, wide: bool) -> None:
        self._block = block
        self._wide = wide

    def __rich_console__(self, _: Console, options: ConsoleOptions) -> RenderResult:
        width = sys.maxsize if self._wide else options.max_width
        if isinstance(self._block, Table):
            table, left_out = laid_out(self._block, width)
            yield table
            if left_out:
                yield _Prose(Text(left_out, style="dim"))
        elif isinstance(self._block, Pairs):
            yield _pairs(self._block, width)
        elif isinstance(self._block, Terms):
            yield from _terms(self._block, options.max_width)
        else:
            yield from map(_text, curve.lines(self._block, options.max_width))


class _Prose:
    """A line that is folded between words. A word, or what stands in backticks, stays whole: somebody may copy it."""

    def __init__(self, text: Text) -> None:
        self._text = text

    def __rich_console__(self, _: Console, options: ConsoleOptions) -> RenderResult:
        for line in self._text.split("\n", allow_blank=True):
            indent = " " * _INDENT.match(line.plain).end()  # type: ignore[union-attr]
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


def _terms(block: Terms, width: int) -> Iterator[Text]:
    yield Text(f"\n{block.title}", style="bold")
    column = min(max(map(cell_len, block.texts), default=0), _TERMS)
    margin = " " * (column + 4)
    for name, text in block.texts.items():
        parts = [part.plain for part in Text(text).divide(_folds(text, width - len(margin), 0))]
        first = f"  {name}{' ' * (column - cell_len(name))}  "
        if cell_len(name) > column:
            yield Text(f"  {name}", style="cyan", no_wrap=True, overflow="ignore")
            first = margin
        yield Text.assemble((first, "cyan"), f"\n{margin}".join(part.rstrip() for part in parts))


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
