"""`mlmeta list`."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated

from mlmeta.cli import completion, options, text
from mlmeta.cli.output import Output
from mlmeta.cli.run import execute
from mlmeta.cli.text import Styled, Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlmeta.cli.text import Block, Piece
    from mlmeta.commands.list import ListResult
    from mlmeta.progress import Progress
    from mlmeta.snapshot.catalog import SnapshotInfo

_STYLES = {
    "complete": "green",
    "legacy": "cyan",
    "partial": "yellow",
    "shrunken": "bold yellow",
    "future": "magenta",
    "incomplete": "yellow",
    "damaged": "bold red",
    "unreadable": "bold red",
    "unsupported": "red",
}
Tags = Annotated[
    list[str] | None,
    options.option(
        "--tag",
        "Only snapshots with this tag. Repeatable: with all of them.",
        env="MLMETA_LIST_TAG",
        metavar="KEY[=VALUE]",
        autocompletion=completion.tags,
        callback=options.one_a_line,
    ),
]
Limit = Annotated[
    int | None, options.option("--limit", "Only so many, the newest.", env="MLMETA_LIST_LIMIT", metavar="N", min=1)
]
_SPARE = ("USERS", "DATASETS", "TRACES", "EXPERIMENTS", "TAGS", "MODELS")


def command(
    storage: options.Storage = options.DEFAULT_STORAGE,
    source: options.OnlySource = "",
    tag: Tags = None,
    limit: Limit = None,
    gcs_project: options.GcsProject = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    wide: options.Wide = False,
    no_progress: options.NoProgress = False,
) -> None:
    """Show the snapshots of a storage, newest first.

    Half-written and damaged ones are shown too, with their state.
    """

    def call(_: Progress) -> ListResult:
        from mlmeta.commands.list import list_snapshots

        return list_snapshots(storage, of_source=source, tags=tag or (), limit=limit)

    is_filtered = bool(source or tag)
    output = Output("list", json, quiet, verbose, not no_progress, wide)
    execute(output, call, partial(view, is_filtered=is_filtered))


def view(result: ListResult, *, is_filtered: bool = False) -> list[Block]:
    """A table, newest first; below it, why a snapshot is not complete."""
    if not result.snapshots and is_filtered:
        return [f"No such snapshots in {result.storage}: `mlmeta list` shows all."]
    if not result.snapshots:
        return [f"No snapshots in {result.storage}: create one with `mlmeta backup`."]
    problems = [Styled(f"{info.timestamp}: {why}", "dim") for info in result.snapshots for why in info.remarks]
    left = text.more(result.total, len(result.snapshots))
    return [
        table(result.snapshots),
        *left,
        *(["", *problems] if problems else ()),
    ]


def table(snapshots: Sequence[SnapshotInfo]) -> Table:
    """A row for each snapshot, with the counts of the kinds that every snapshot has, and of others if one has some."""
    from mlmeta.schema import EVALUATION_DATASETS, TRACES, leading_kinds

    some = {kind for kind in (TRACES, EVALUATION_DATASETS) if any(info.stats.get(kind.name) for info in snapshots)}
    shown = [kind for kind in leading_kinds() if kind.always or kind in some]
    kinds, counts = [kind.name for kind in shown], [kind.many.split()[-1].upper() for kind in shown]
    if any(info.auth for info in snapshots):
        kinds, counts = [*kinds, "users"], [*counts, "USERS"]
    has_tags = any(info.tags for info in snapshots)
    return Table(
        ("TIMESTAMP", "AGE", "SOURCE", *counts, "SIZE", "STATE", *(("TAGS",) if has_tags else ())),
        [
            _row(info, source, kinds) + ([text.tags(info.tags)] if has_tags else [])
            for info, source in zip(snapshots, text.sources(snapshots), strict=True)
        ],
        right=("AGE", *counts, "SIZE"),
        whole=("TIMESTAMP", "STATE"),
        spare=_SPARE,
        brief={"EXPERIMENTS": "EXPS"},
    )


def _row(info: SnapshotInfo, source: str, kinds: Sequence[str]) -> list[Piece]:
    return [
        info.timestamp,
        text.age(info.age),
        source or info.source or "-",
        *(f"{info.stats[name]:,}" if name in info.stats else "-" for name in kinds),
        text.size(info.size),
        Styled(info.state.value, _STYLES[info.state.value]),
    ]
