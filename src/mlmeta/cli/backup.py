"""`mlmeta backup`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mlmeta.cli import keep, options
from mlmeta.cli.output import Output
from mlmeta.cli.run import execute
from mlmeta.cli.several import one_a_line

if TYPE_CHECKING:
    from mlmeta.commands.result import Result
    from mlmeta.progress import Progress

Storages = Annotated[
    list[str],
    typer.Option(
        "--storage",
        metavar="LOCATION",
        envvar="MLMETA_STORAGE",
        callback=one_a_line,
        help="Where the snapshot goes: a folder, or gs://bucket/prefix. Repeatable.",
    ),
]
Label = Annotated[
    str,
    typer.Option(
        "--label",
        metavar="NAME",
        envvar="MLMETA_LABEL",
        help="A name for this source that counts instead of its address, for one that changes or is shared.",
    ),
]
ShrinkLimit = Annotated[
    int,
    typer.Option(
        "--shrink-limit",
        metavar="PERCENT",
        min=0,
        max=100,
        envvar="MLMETA_SHRINK_LIMIT",
        help="Mark it, prune nothing and exit 3 if it has fewer experiments, runs or models than this share of the "
        "newest snapshot of this source. 0: never.",
    ),
]
Compress = Annotated[bool, typer.Option("--compress", envvar="MLMETA_COMPRESS", help="Gzip the data files (.json.gz).")]
IfChanged = Annotated[
    bool,
    typer.Option(
        "--if-changed",
        envvar="MLMETA_IF_CHANGED",
        help="Write nothing if nothing has changed since the newest snapshot of this source.",
    ),
]
Incremental = Annotated[
    bool,
    typer.Option(
        "--incremental",
        envvar="MLMETA_INCREMENTAL",
        help="Take metric histories that can't have changed from the newest snapshot of this source.",
    ),
]
FullEvery = Annotated[
    str,
    typer.Option(
        "--full-every",
        metavar="DURATION",
        envvar="MLMETA_FULL_EVERY",
        help="With --incremental: read all histories again once that was this long ago, such as 7d or 12h.",
    ),
]
ExecutorName = Annotated[
    str,
    typer.Option(
        "--executor",
        metavar="EXECUTOR",
        envvar="MLMETA_EXECUTOR",
        help="What reads a server's histories: threads, or a Dask cluster: dask:tcp://HOST:PORT (docs/scale.md).",
    ),
]
Drill = Annotated[
    bool,
    typer.Option("--drill", envvar="MLMETA_DRILL", help="Also restore it into a throwaway store, and compare."),
]
DryRun = Annotated[bool, typer.Option("--dry-run", envvar="MLMETA_DRY_RUN", help="Read everything, write nothing.")]


def backup(
    tracking_uri: options.TrackingUri = "",
    storage: Storages = [options.DEFAULT_STORAGE],  # noqa: B006 - Typer copies it
    experiment: options.Experiments = None,
    label: Label = "",
    compress: Compress = False,
    if_changed: IfChanged = False,
    incremental: Incremental = False,
    full_every: FullEvery = "7d",
    shrink_limit: ShrinkLimit = 50,
    keep_last: keep.Last = 0,
    keep_hourly: keep.Hourly = 0,
    keep_daily: keep.Daily = 0,
    keep_weekly: keep.Weekly = 0,
    keep_monthly: keep.Monthly = 0,
    keep_yearly: keep.Yearly = 0,
    keep_within: keep.Within = "",
    drill: Drill = False,
    dry_run: DryRun = False,
    registry_uri: options.RegistryUri = None,
    jobs: options.Jobs = options.DEFAULT_JOBS,
    executor: ExecutorName = "threads",
    umask: options.Umask = "",
    gcs_project: options.GcsProject = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    no_progress: options.NoProgress = False,
) -> None:
    """Save an MLflow store's metadata as a snapshot.

    Experiments, runs, params, tags, the full history of every metric, and the model registry, deleted ones
    included. Exit code 3: saved, but something could not be read; it is named. With --keep-… old snapshots of the
    same source go once the new one is complete (`mlmeta prune` is for all sources).
    """

    def call(progress: Progress) -> Result:
        from mlmeta.commands import backup as operation
        from mlmeta.snapshot.retention import parse_within

        rules = keep.rules(
            last=keep_last,
            hourly=keep_hourly,
            daily=keep_daily,
            weekly=keep_weekly,
            monthly=keep_monthly,
            yearly=keep_yearly,
            within=keep_within,
        )
        return operation.backup(
            tracking_uri,
            storage,
            experiments=experiment or (),
            registry_uri=registry_uri,
            jobs=jobs,
            executor=executor,
            compress=compress,
            if_changed=if_changed,
            incremental=incremental,
            full_every=parse_within(full_every),
            label=label,
            shrink_limit=shrink_limit,
            keep=rules,
            with_drill=drill,
            dry_run=dry_run,
            progress=progress,
        )

    execute(Output("backup", json, quiet, verbose, not no_progress), call)
