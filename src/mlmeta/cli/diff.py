"""`mlmeta diff`."""

from __future__ import annotations

import sys
from functools import partial
from json import dumps as json_of
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlmeta.cli import completion, options, text
from mlmeta.cli.output import Output
from mlmeta.cli.run import execute
from mlmeta.cli.text import Styled, Table
from mlmeta.errors import UsageError

if TYPE_CHECKING:
    from mlmeta.cli.text import Block, Line, Piece
    from mlmeta.commands.diff import DiffResult
    from mlmeta.progress import Progress
    from mlmeta.snapshot.compare import Change

_SHOWN = 50
_TIMES = ("_time", "timestamp", "timestamp_ms")
"""How the names of fields end that hold milliseconds since the epoch."""
_SIGNS = {"added": ("+", "green"), "removed": ("-", "red"), "changed": ("~", "yellow")}

Before = Annotated[
    str,
    typer.Argument(metavar="[BEFORE]", help=f"A snapshot: a {options.SELECTORS}", autocompletion=completion.snapshots),
]
After = Annotated[
    str | None,
    typer.Argument(
        metavar="[AFTER]",
        help="Another one. Without it: the store at --tracking-uri.",
        autocompletion=completion.snapshots,
    ),
]
Incremental = Annotated[
    bool,
    options.option(
        "--incremental",
        "Don't ask the store for histories that can't have changed since the snapshot.",
        env="MLMETA_DIFF_INCREMENTAL",
    ),
]


def command(
    before: Before = "latest",
    after: After = None,
    tracking_uri: options.TrackingUri = "",
    storage: options.Storage = options.DEFAULT_STORAGE,
    source: options.Source = "",
    experiment: options.Experiments = None,
    only: options.Only = None,
    workspace: options.Workspaces = None,
    without: options.Without = None,
    incremental: Incremental = False,
    accept: options.Accept = None,
    registry_uri: options.RegistryUri = None,
    jobs: options.Jobs = options.DEFAULT_JOBS,
    gcs_project: options.GcsProject = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    wide: options.Wide = False,
    no_progress: options.NoProgress = False,
) -> None:
    """What changed between two snapshots, or between a snapshot and the store as it is now.

    Down to single params, tags and metric points. Exit code 0: nothing; 4: something changed.
    """

    def call(progress: Progress) -> DiffResult:
        if after is None and not tracking_uri:
            raise UsageError(
                "there is nothing to compare with",
                hint="name another snapshot (mlmeta diff latest~1 latest), or the store with --tracking-uri",
            )
        from mlmeta.commands.diff import diff

        return diff(
            before,
            after,
            storage,
            of_source=source,
            tracking_uri=tracking_uri,
            registry_uri=registry_uri,
            experiments=experiment or (),
            workspaces=workspace or (),
            only=options.values(only),
            without=options.values(without),
            incremental=incremental,
            accept=accept or (),
            jobs=jobs,
            progress=progress,
        )

    in_full = wide or verbose or not sys.stdout.isatty()
    output = Output("diff", json, quiet, verbose, not no_progress, wide)
    execute(output, call, partial(view, verbose=verbose, in_full=in_full))


def view(result: DiffResult, *, verbose: bool, in_full: bool = False) -> list[Block]:
    """How many of each kind changed, and the first changes.

    Args:
        result: of the command.
        verbose: more of the changes.
        in_full: their values as long as they are.
    """
    limited = f" (experiments {', '.join(result.experiments)})" if result.experiments else ""
    title: Line = [Styled(result.before, "bold"), " → ", Styled(result.after, "bold"), limited]
    accepted = text.accepted(result.accepted, result.unread, most=None if verbose else _SHOWN)
    if result.comparison.is_equal:
        so_far = " in what could be read" if result.unread else ""
        return [title, Styled(f"Nothing changed{so_far}.", "green"), *accepted]
    changes = result.comparison.changes if verbose else result.comparison.changes[:_SHOWN]
    more = len(result.comparison.changes) - len(changes) + result.comparison.unnamed
    left = [f"… and {more:,} more" + ("" if verbose else ": --verbose shows up to a thousand")] if more else []
    return [title, "", _counts(result), "", *(_line(change, in_full=in_full) for change in changes), *left, *accepted]


def _counts(result: DiffResult) -> Table:
    tallies = result.comparison.records
    unread = ("UNREAD",) if any(tally.unread for tally in tallies.values()) else ()
    columns = ("ADDED", "REMOVED", "CHANGED", "SAME", *unread)
    rows: list[tuple[Piece, ...]] = []
    for kind, tally in tallies.items():
        counts = [(getattr(tally, what), style) for what, (_, style) in _SIGNS.items()]
        changed = [Styled(f"{count:,}", style if count else "") for count, style in counts]
        rows.append((text.many(kind), *changed, f"{tally.same:,}", *[f"{tally.unread:,}"] * len(unread)))
    return Table(("", *columns), rows, right=columns)


def _line(change: Change, *, in_full: bool = False) -> Line:
    sign, style = _SIGNS[change.what]
    name = f" ({change.name})" if change.name else ""
    field = f": {change.field}: {' → '.join(_values(change, in_full=in_full))}" if change.field else ""
    return [Styled(f"{sign} ", style), f"{change.kind} {change.id}{name}{field}"]


def _values(change: Change, *, in_full: bool) -> list[str]:
    """What it was and what it is; a time as people read it."""
    is_time = change.field.endswith(_TIMES)
    return [
        text.moment(value, exactly=True)
        if is_time and isinstance(value, int)
        else _whole(value)
        if in_full and word.endswith("…")
        else word
        for value, word in zip((change.before, change.after), change.words, strict=True)
    ]


def _whole(value: Any) -> str:
    """A value, or what there is of one that is very long, in one line."""
    return f"'{value}'" if isinstance(value, str) else json_of(value, ensure_ascii=False)
