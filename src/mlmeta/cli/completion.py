"""Shell completion: what may stand where a word is begun.

Typer speaks with the shells. Here is what it can't know: snapshots, experiments, sources, profiles; and the words as
bash splits them. All of it is quick and quiet, as whoever presses Tab waits: what takes too long, or fails, is nothing.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import os
import re
import sys
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import typer

from mlmeta.cli.settings import META
from mlmeta.errors import ConfigurationError, UsageError

if TYPE_CHECKING:
    from mlmeta.snapshot.layout import FileSet
    from mlmeta.storage import Storage

VARIABLE = "_MLMETA_COMPLETE"
"""Set where a shell asks for completions: the environment variable that Typer makes of the program's name."""
QUICK = 0.3
"""Seconds that a completion may look for names."""
PATIENT = 3.0
"""Seconds that it may look for timestamps, in a bucket or among thousands of files: few know them by heart."""
_MENU = 200
"""The most timestamps that are offered at once: the newest that begin as the word does."""
_MOST = 4 << 20
"""Bytes of a file that are looked at."""
_SUMMARIES = 20
"""So many of the newest snapshots are asked for their source."""
_MEANT_BY_SHELLS = set("\\$`\"'")
"""Zsh evaluates completions twice, and who may name an experiment must not run commands."""
_BREAKS = re.compile(r"[:=@]+")
"""Words of their own for bash (COMP_WORDBREAKS), in the middle of what is one for everybody else."""
_APOSTROPHE = "\N{RIGHT SINGLE QUOTATION MARK}"
_AT_ONCE = """if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
  %(complete_func)s "$@"
fi
"""
_PLAIN = re.compile(r"[^\w@%+=:,./~-]")


def snapshots(context: typer.Context, incomplete: str) -> list[str]:
    """``latest`` and the timestamps of the storage that the command line so far names, newest first."""

    def look(storage: Storage) -> list[str]:
        found = [files.timestamp for files in _committed(storage)]
        return ["latest", *[one for one in found if one.startswith(incomplete)][:_MENU]] if found else []

    return _within(PATIENT, _storage(context), look)


def experiments(context: typer.Context, incomplete: str) -> list[str]:
    """The names of the experiments of the snapshot that the command line so far names, else of the newest."""
    return _names(context, "experiments")


def models(context: typer.Context, incomplete: str) -> list[str]:
    """The names of its registered models, likewise."""
    return _names(context, "models")


def _names(context: typer.Context, kind: str) -> list[str]:
    named = {context.params.get("timestamp"), context.params.get("selector"), *context.args}  # args: what is left over

    def look(storage: Storage) -> list[str]:
        sets = _committed(storage)
        chosen = next((files for files in sets if files.timestamp in named), sets[0])
        records = json.loads(_content(storage, chosen.files[kind].name))
        return [record["name"] for record in records]

    return _within(QUICK, _storage(context), look)


def sources(context: typer.Context, incomplete: str) -> list[str]:
    """The labels, or else the addresses, of the newest snapshots' sources."""

    def look(storage: Storage) -> list[str]:
        return list(dict.fromkeys(one.get("label") or one["mlflow_uri"] for one in _summaries(storage)))

    return _within(QUICK, _storage(context), look)


def tags(context: typer.Context, incomplete: str) -> list[str]:
    """The tags of the newest snapshots: each key, and with each of its values."""

    def look(storage: Storage) -> list[str]:
        given = [(key, value) for one in _summaries(storage) for key, value in one.get("tags", {}).items()]
        return list(dict.fromkeys(name for key, value in given for name in (key, f"{key}={value}")))

    return _within(QUICK, _storage(context), look)


def gaps(context: typer.Context, incomplete: str) -> list[str]:
    """The kinds of things that the newest snapshots lack."""

    def look(storage: Storage) -> list[str]:
        return list(dict.fromkeys(gap["kind"] for one in _summaries(storage) for gap in one.get("skipped", ())))

    return _within(QUICK, _storage(context), look)


def profiles(context: typer.Context, incomplete: str) -> list[str]:
    """The profiles of the configuration file."""
    try:
        return _harmless(context.find_root().meta[META].profiles)
    except ConfigurationError:
        return []


def commands(context: typer.Context, incomplete: str) -> list[str]:
    """The names of all commands, as the first word."""
    root: Any = context.find_root().command
    return [] if context.params.get("words") else list(root.commands)


def _location(context: typer.Context) -> str:
    """The storage, as far as it is known: of several, the first."""
    found = context.params.get("from_") or context.params.get("storage") or ""
    return str(found[0] if isinstance(found, list | tuple) else found)


def _storage(context: typer.Context) -> Storage | None:
    """The storage, with what it takes to speak to it imported; None: there can be no such one."""
    from mlmeta.snapshot import layout  # noqa: F401 - before the time runs
    from mlmeta.storage import open_storage

    try:
        return open_storage(_location(context))
    except UsageError:
        return None


def _within(seconds: float, storage: Storage | None, look: Callable[[Storage], list[str]]) -> list[str]:
    """What is found in so many seconds; nothing where it takes longer, or fails."""
    found: list[str] = []

    def run() -> None:
        with contextlib.suppress(Exception):  # a traceback in the middle of somebody's command line helps nobody
            if storage is not None:
                found.extend(_harmless(look(storage)))

    import logging  # not at the top: all commands import this

    logging.disable()
    warnings.simplefilter("ignore")
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    return [] if thread.is_alive() else found


def _committed(storage: Storage) -> list[FileSet]:
    from mlmeta.snapshot.layout import group

    return [files for files in group(storage.files()) if files.summary is not None]


def _summaries(storage: Storage) -> list[dict[str, Any]]:
    names = [files.summary.name for files in _committed(storage)[:_SUMMARIES] if files.summary]
    return [json.loads(_content(storage, name)) for name in names]


def _content(storage: Storage, name: str) -> bytes:
    with storage.open(name, _MOST) as file:
        if not name.endswith(".gz"):
            return file.read(_MOST)
        import gzip

        with gzip.open(file) as unpacked:
            return unpacked.read(_MOST)


def _harmless(names: Iterable[object]) -> list[str]:
    """Those that no shell takes for more than a name."""
    texts = (name for name in names if isinstance(name, str) and name.isprintable())
    return [text for text in texts if text and text[0] != "-" and not _MEANT_BY_SHELLS & set(text)]


def help_zsh() -> None:
    """See that what zsh is given to install completes at the first Tab, which makes zsh load it, as at the others."""
    from typer import _completion_shared as shared

    scripts = shared._completion_scripts
    scripts["zsh"] = scripts["zsh"].replace("\ncompdef ", f"\n{_AT_ONCE}\ncompdef ", 1)


@contextlib.contextmanager
def spoken_with_shell() -> Iterator[None]:
    """Answer a shell that asks for completions.

    For bash, put together what it takes apart, and quote for it; for zsh, leave its texts the apostrophes.
    """
    shell = os.environ[VARIABLE].removeprefix("complete_")
    taken_off, quoted = "", False
    if shell == "bash":
        words, taken_off, quoted = _put_together(os.environ["COMP_WORDS"].split("\n"), int(os.environ["COMP_CWORD"]))
        os.environ.update(COMP_WORDS="\n".join(words), COMP_CWORD=str(len(words) - 1))
    told = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", newline="\n")
    try:
        with contextlib.redirect_stdout(told):
            yield
    finally:
        told.flush()
        for line in told.buffer.getvalue().decode().splitlines():
            value = line.removeprefix(taken_off)
            if shell == "bash" and not quoted:
                value = _PLAIN.sub(r"\\\g<0>", value)
            if shell == "zsh":  # of an apostrophe, Typer makes two, and zsh of these nothing; no name has any
                value = value.replace("''", _APOSTROPHE)
            sys.stdout.write(f"{value}\n")


def _put_together(words: list[str], current: int) -> tuple[list[str], str, bool]:
    """The words up to the current one as they were typed.

    Args:
        words: as bash splits them: ``gs``, ``:`` and ``//bucket``.
        current: index of the word at the cursor.

    Returns:
        the words, what stands before the last piece of the last one, and whether that one is within quotes.
    """
    words = [*words, ""][: current + 1]
    whole, before = words[:1], ""
    for previous, word in itertools.pairwise(words):
        if _BREAKS.fullmatch(word) or (_BREAKS.fullmatch(previous) and len(whole) > 1):
            before = whole[-1] + (word if _BREAKS.fullmatch(word) else "")
            whole[-1] += word
        else:
            before = ""
            whole.append(word)
    return whole, before, words[-1][:1] in {"'", '"'}
