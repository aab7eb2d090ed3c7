"""`mlmeta backup`."""

from __future__ import annotations

import shlex
from functools import partial
from typing import TYPE_CHECKING, Annotated

from mlmeta.cli import options, text
from mlmeta.cli.output import Output
from mlmeta.cli.run import Watched, execute, name_of_store
from mlmeta.cli.text import Styled, Verbatim

if TYPE_CHECKING:
    from mlmeta.cli.text import Block
    from mlmeta.commands.backup import BackupResult
    from mlmeta.progress import Progress

_NAMED = 20
"""So many accepted gaps are named."""

Storages = Annotated[
    list[str],
    options.option(
        "--storage",
        "Where the snapshot goes: a folder, or gs://bucket/prefix. Repeatable.",
        metavar="LOCATION",
        callback=options.one_a_line,
    ),
]
Tables = Annotated[
    list[str] | None,
    options.option(
        "--table",
        "Also save the rows of this table of the database, though nothing tells that it is MLflow's. Repeatable.",
        metavar="NAME",
        callback=options.one_a_line,
    ),
]
Label = Annotated[
    str,
    options.option(
        "--label",
        "A name for this source that counts instead of its address, for one that changes or is shared.",
        metavar="NAME",
    ),
]
Tags = Annotated[
    list[str] | None,
    options.option(
        "--tag",
        "Give the snapshot a tag, to find it by (`list --tag`) and to keep it for (`--keep-tag`). Repeatable.",
        metavar="KEY=VALUE",
        callback=options.one_a_line,
    ),
]
ShrinkLimit = Annotated[
    int,
    options.option(
        "--shrink-limit",
        "Mark it, prune nothing and exit 3 if it has fewer experiments, runs or models than this share of the "
        "newest snapshot of this source. 0: never.",
        metavar="PERCENT",
        min=0,
        max=100,
    ),
]
Compress = Annotated[bool, options.option("--compress", "Gzip the data files (.json.gz).")]
IfChanged = Annotated[
    bool,
    options.option("--if-changed", "Write nothing if nothing has changed since the newest snapshot of this source."),
]
Incremental = Annotated[
    bool,
    options.option(
        "--incremental", "Take metric histories that can't have changed from the newest snapshot of this source."
    ),
]
FullEvery = Annotated[
    str,
    options.option(
        "--full-every",
        "With --incremental: read all histories again once that was this long ago, such as 7d or 12h.",
        metavar="DURATION",
    ),
]
ExecutorName = Annotated[
    str,
    options.option(
        "--executor",
        "What reads a server's histories: threads, or a Dask cluster: dask:tcp://HOST:PORT (docs/how-to/scale.md).",
        metavar="EXECUTOR",
    ),
]
AuthUri = Annotated[
    str,
    options.option(
        "--auth-uri",
        "Also save the users, password hashes, roles and permissions of basic-auth: the URI of their database, or "
        "`same` if the tracking database has the tables (docs/how-to/basic-auth.md).",
        metavar="URI",
    ),
]
Drill = Annotated[bool, options.option("--drill", "Also restore it into a throwaway store, and compare.")]
DryRun = Annotated[bool, options.option("--dry-run", "Read everything, write nothing.")]


def command(
    tracking_uri: options.TrackingUri = "",
    storage: Storages = [options.DEFAULT_STORAGE],  # noqa: B006 - Typer copies it
    experiment: options.Experiments = None,
    workspace: options.Workspaces = None,
    without: options.Without = None,
    table: Tables = None,
    label: Label = "",
    tag: Tags = None,
    compress: Compress = False,
    if_changed: IfChanged = False,
    incremental: Incremental = False,
    full_every: FullEvery = "7d",
    shrink_limit: ShrinkLimit = 50,
    accept: options.Accept = None,
    keep_last: options.KeepLast = 0,
    keep_hourly: options.KeepHourly = 0,
    keep_daily: options.KeepDaily = 0,
    keep_weekly: options.KeepWeekly = 0,
    keep_monthly: options.KeepMonthly = 0,
    keep_yearly: options.KeepYearly = 0,
    keep_within: options.KeepWithin = "",
    keep_tag: options.KeepTags = None,
    drill: Drill = False,
    dry_run: DryRun = False,
    registry_uri: options.RegistryUri = None,
    auth_uri: AuthUri = "",
    include_password_hashes: options.IncludePasswordHashes = False,
    jobs: options.Jobs = options.DEFAULT_JOBS,
    executor: ExecutorName = "threads",
    metrics_file: options.MetricsFile = "",
    ping: options.PingUrl = "",
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

    def call(progress: Progress) -> BackupResult:
        from mlmeta.commands.backup import backup
        from mlmeta.schema.summary import tags_of

        rules = options.retention(
            last=keep_last,
            hourly=keep_hourly,
            daily=keep_daily,
            weekly=keep_weekly,
            monthly=keep_monthly,
            yearly=keep_yearly,
            within=keep_within,
            tags=keep_tag,
        )
        return backup(
            tracking_uri,
            storage,
            experiments=experiment or (),
            workspaces=workspace or (),
            without=options.values(without),
            tables=table or (),
            registry_uri=registry_uri,
            auth_uri=auth_uri,
            include_password_hashes=include_password_hashes,
            jobs=jobs,
            executor=executor,
            compress=compress,
            if_changed=if_changed,
            incremental=incremental,
            full_every=options.duration("--full-every", full_every),
            label=label,
            tags=tags_of(tag or ()),
            shrink_limit=shrink_limit,
            accept=accept or (),
            keep=rules,
            with_drill=drill,
            dry_run=dry_run,
            progress=progress,
        )

    watched = None if dry_run else Watched(metrics_file, ping, storage, lambda: label or name_of_store(tracking_uri))
    execute(Output("backup", json, quiet, verbose, not no_progress), call, partial(view, verbose=verbose), watched)


def view(result: BackupResult, *, verbose: bool) -> list[Block]:
    """The closing summary: counts, size, seconds, where it is, and the command that restores it."""
    if result.unchanged_since:
        written = "would be" if result.dry_run else "was"
        return [f"Nothing has changed since snapshot {result.unchanged_since}: no new one {written} written."]
    verb = "Would save" if result.dry_run else "Saved"
    lines: list[Block] = [f"{verb} {text.counts(result.stats)} from {result.source} in {text.seconds(result.seconds)}"]
    if not result.dry_run:
        where = f", {text.size(result.size)}, in {', '.join(result.storages)}"
        lines.append(["Snapshot ", Styled(result.timestamp, "bold green"), where])
        lines += ["Bring it back with:", Verbatim(f"  {_restore(result)}")]
    lines += _origins(result)
    lines += text.accepted(result.accepted, result.skipped, most=None if verbose else _NAMED)
    if result.drill is not None and result.drill.is_equal:
        lines.append("A trial restore into a throwaway store brought everything back.")
    for storage, gone in result.pruned.items():
        if gone:
            named = f": {', '.join(gone)}" if result.dry_run else ""
            removed = "Would remove" if result.dry_run else "Removed"
            lines.append(f"{removed} {text.plural(len(gone), 'older snapshot')} from {storage}{named}")
    if verbose:
        lines += [
            f"  {file.name}: {text.amount(file.records, 'records')}, {text.size(file.bytes)}"
            for file in result.files.values()
        ]
    return lines


def _origins(result: BackupResult) -> list[Block]:
    """What came from elsewhere."""
    lines: list[Block] = []
    if result.auth:
        lines.append(f"Users and permissions came from {result.auth}")
    if result.incremental_base:
        lines.append(f"Metric histories that can't have changed came from snapshot {result.incremental_base}")
    return lines


def _restore(result: BackupResult) -> str:
    words = ["mlmeta", "restore", result.timestamp]
    if result.storages[0] != "backups/":
        words += ["--storage", result.storages[0]]
    return f"{shlex.join(words)} --tracking-uri URI" + (" --auth-uri URI" if result.auth else "")
