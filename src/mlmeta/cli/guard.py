"""`mlmeta guard`."""

from __future__ import annotations

import os
import time
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mlmeta.cli import backup, options
from mlmeta.cli.output import Output
from mlmeta.cli.run import execute

if TYPE_CHECKING:
    from mlmeta.cli.text import Block
    from mlmeta.commands.guard import GuardResult
    from mlmeta.progress import Progress


class Restore(str, Enum):
    """What happens before the command starts."""

    IF_EMPTY = "if-empty"
    NEVER = "never"
    REQUIRE = "require"


Words = Annotated[
    list[str],
    typer.Argument(metavar="COMMAND...", help="The server's command, after --. No shell reads it.", show_default=False),
]
StoreUri = Annotated[
    str,
    options.option(
        "--store",
        "The store to guard. Default: the --backend-store-uri of the command, or MLFLOW_BACKEND_STORE_URI.",
        metavar="URI",
        show_default=False,
    ),
]
RestoreOption = Annotated[
    Restore,
    options.option(
        "--restore",
        "Before the start: restore the newest snapshot into an empty store, or never; require: refuse a store that is "
        "not empty.",
        env="MLMETA_GUARD_RESTORE",
        metavar="if-empty|never|require",
    ),
]
AllowNone = Annotated[bool, options.option("--allow-none", "Start with an empty store when there is no snapshot yet.")]
Rpo = Annotated[
    str,
    options.option("--rpo", "How long a change may stay unsaved; it is saved after 5 s of quiet.", metavar="DURATION"),
]
Grace = Annotated[
    str,
    options.option(
        "--grace", "Time for the command to end; what is left then is killed. Cloud Run gives 10 s.", metavar="DURATION"
    ),
]
HealthUrl = Annotated[
    str,
    options.option(
        "--health-url",
        "Nothing is saved before this answers. Default: /health of the command's --host and --port.",
        metavar="URL",
    ),
]
StartPeriod = Annotated[
    str, options.option("--start-period", "… or before this much time has passed.", metavar="DURATION")
]
StatusFileOption = Annotated[
    str,
    options.option(
        "--status-file",
        "A JSON file that says how it is doing: the last save, its snapshot, how long a change has waited.",
        metavar="FILE",
    ),
]
Listen = Annotated[
    str,
    options.option(
        "--listen",
        "Answer over HTTP how it is doing: /healthz, /readyz, /status (JSON), /metrics (Prometheus). "
        "Such as 127.0.0.1:9095. Default: nowhere.",
        metavar="HOST:PORT",
        show_default=False,
    ),
]
FullEvery = Annotated[
    str,
    options.option(
        "--full-every",
        "Histories that can't have changed are taken from the snapshot before: read all of them again once that was "
        "this long ago, such as 7d or 12h.",
        metavar="DURATION",
    ),
]
NoWal = Annotated[bool, options.option("--no-wal", "Leave a SQLite database without a write-ahead log.")]


def command(
    words: Words,
    store: StoreUri = "",
    storage: backup.Storages = [options.DEFAULT_STORAGE],  # noqa: B006 - Typer copies it
    restore: RestoreOption = Restore.IF_EMPTY,
    allow_none: AllowNone = False,
    source: options.Source = "",
    rpo: Rpo = "60s",
    grace: Grace = "8s",
    health_url: HealthUrl = "",
    start_period: StartPeriod = "120s",
    no_wal: NoWal = False,
    listen: Listen = "",
    status_file: StatusFileOption = "",
    label: backup.Label = "",
    tag: backup.Tags = None,
    compress: backup.Compress = False,
    full_every: FullEvery = "7d",
    shrink_limit: backup.ShrinkLimit = 50,
    accept: options.Accept = None,
    keep_last: options.KeepLast = 10,
    keep_hourly: options.KeepHourly = 24,
    keep_daily: options.KeepDaily = 14,
    keep_weekly: options.KeepWeekly = 0,
    keep_monthly: options.KeepMonthly = 12,
    keep_yearly: options.KeepYearly = 0,
    keep_within: options.KeepWithin = "",
    keep_tag: options.KeepTags = None,
    auth_uri: backup.AuthUri = "",
    include_password_hashes: options.IncludePasswordHashes = False,
    umask: options.Umask = "",
    gcs_project: options.GcsProject = None,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Run a server, and save its store while it runs.

    The newest snapshot is restored if the store is empty; the command starts; what changes is saved within a minute;
    at SIGTERM it ends, and what is left is saved. The exit code is the command's, or 3 if only the last save failed.
    """
    environment = dict(os.environ)  # before ours is changed for MLflow's client

    def call(_: Progress) -> GuardResult:
        from mlmeta.commands.before import Start
        from mlmeta.commands.guard import Watching, guard
        from mlmeta.commands.saver import Saving
        from mlmeta.guard.schedule import Pace
        from mlmeta.guard.supervisor import Terms
        from mlmeta.schema import several
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
        saving = Saving(
            storages=several(storage),
            label=label,
            compress=compress,
            full_every=options.duration("--full-every", full_every),
            shrink_limit=shrink_limit,
            keep=rules,
            auth_uri=auth_uri,
            include_password_hashes=include_password_hashes,
            accept=tuple(accept or ()),
            tags=tags_of(tag or ()),
        )
        seconds = {
            name: options.duration(name, text).total_seconds()
            for name, text in (("--rpo", rpo), ("--grace", grace), ("--start-period", start_period))
        }
        terms = Terms(
            pace=Pace(rpo=seconds["--rpo"]),
            grace=seconds["--grace"],
            start_period=seconds["--start-period"],
        )
        return guard(
            words,
            environment,
            saving,
            _Lines(quiet=quiet, verbose=verbose),
            store_uri=store,
            start=Start(restore.value, allow_none=allow_none, of_source=source, wal=not no_wal),
            terms=terms,
            watching=Watching(listen, Path(status_file) if status_file else None),
            health_url=health_url,
        )

    execute(Output("guard", quiet=True, verbose=verbose, show_progress=False), call, view)


class _Lines:
    """Messages as the lines of a log, on stderr: stdout is the command's."""

    def __init__(self, *, quiet: bool, verbose: bool) -> None:
        self._output = Output("guard", quiet=quiet, verbose=verbose)

    def info(self, text: str) -> None:
        """See `Log.info`."""
        if not self._output.quiet:
            self._line(text)

    def warning(self, text: str) -> None:
        """See `Log.warning`."""
        self._line(f"warning: {text}")

    def detail(self, text: str) -> None:
        """See `Log.detail`."""
        if self._output.verbose:
            self._line(text)

    def _line(self, text: str) -> None:
        self._output.line(f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} mlmeta guard: {text}")


def view(_: GuardResult) -> list[Block]:
    """Nothing: all has been said, and stdout is the command's."""
    return []
