"""`mlmeta migrate`."""

from __future__ import annotations

import shlex
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from mlmeta.cli import backup, options, restore, text
from mlmeta.cli.output import Output
from mlmeta.cli.run import execute
from mlmeta.cli.text import Styled

if TYPE_CHECKING:
    from mlmeta.cli.text import Block, Line
    from mlmeta.commands.backup import BackupResult
    from mlmeta.commands.migrate import MigrateResult, Move
    from mlmeta.progress import Progress

_NAMED = 20
"""So many accepted gaps are named."""

From = Annotated[
    str,
    typer.Argument(
        metavar="FROM",
        envvar="MLMETA_MIGRATE_FROM",
        help="The MLflow server or store to move: http://…, sqlite:///…, postgresql://…, mysql://…, ./mlruns.",
    ),
]
To = Annotated[
    str,
    typer.Argument(
        metavar="TO",
        envvar="MLMETA_MIGRATE_TO",
        help="Where to: a database, which may be empty or missing, or a server.",
    ),
]
Storages = Annotated[
    list[str] | None,
    options.option(
        "--storage",
        "Keep the snapshot in this folder, or gs://bucket/prefix. Repeatable. Without it, it is thrown away.",
        metavar="LOCATION",
        callback=options.one_a_line,
    ),
]
Tables = Annotated[
    list[str] | None,
    options.option(
        "--table",
        "Also move the rows of this table, though nothing tells that it is MLflow's. Repeatable.",
        metavar="NAME",
        callback=options.one_a_line,
    ),
]
ToRegistryUri = Annotated[
    str | None, options.option("--to-registry-uri", "The model registry of TO, if it is elsewhere.", metavar="URI")
]
ToAuthUri = Annotated[
    str,
    options.option(
        "--to-auth-uri",
        "With --auth-uri: the database of basic-auth that they move into, or `same` if TO has the tables.",
        metavar="URI",
    ),
]
AuthUri = Annotated[
    str,
    options.option(
        "--auth-uri",
        "Also move the users, password hashes, roles and permissions of basic-auth: the URI of FROM's database of "
        "them, or `same` if FROM has the tables. Needs --to-auth-uri.",
        env="MLMETA_MIGRATE_AUTH_URI",
        metavar="URI",
    ),
]
Label = Annotated[
    str,
    options.option(
        "--label",
        "With --storage: a name for FROM that counts instead of its address.",
        env="MLMETA_MIGRATE_LABEL",  # the label of what is usually backed up is another store's
        metavar="NAME",
    ),
]
DryRun = Annotated[
    bool, options.option("--dry-run", "Read FROM, show what would be done in TO, and write nothing, nor a snapshot.")
]


def command(
    from_: From,
    to: To,
    storage: Storages = None,
    experiment: options.Experiments = None,
    only: options.Only = None,
    workspace: options.Workspaces = None,
    without: options.Without = None,
    table: Tables = None,
    ids: restore.IdsOption = None,
    on_conflict: restore.OnConflictOption = restore.OnConflict.FAIL,
    undelete: restore.Undelete = False,
    rewrite_artifact_prefix: options.RewriteArtifactPrefix = None,
    accept: options.Accept = None,
    dry_run: DryRun = False,
    yes: options.Yes = False,
    registry_uri: options.RegistryUri = None,
    to_registry_uri: ToRegistryUri = None,
    auth_uri: AuthUri = "",
    to_auth_uri: ToAuthUri = "",
    include_password_hashes: options.IncludePasswordHashes = False,
    compress: backup.Compress = False,
    label: Label = "",
    jobs: options.Jobs = options.DEFAULT_JOBS,
    gcs_project: options.GcsProject = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    wide: options.Wide = False,
    no_progress: options.NoProgress = False,
) -> None:
    """Move a store into another one: backup, restore and proof in one.

    FROM is only read. It shows what it would do in TO, and asks where TO has runs already or something would be lost.
    Then it adds what TO lacks, reads TO back and compares. Run again, it adds what is missing. Exit code 3: something
    could not be moved; 4: what arrived differs.
    """
    output = Output("migrate", json, quiet, verbose, not no_progress, wide)

    def call(progress: Progress) -> MigrateResult:
        from mlmeta.commands.migrate import migrate
        from mlmeta.schema import Selection

        return migrate(
            from_,
            to,
            storage or (),
            selection=Selection(
                experiments=experiment or (),
                only=options.values(only),
                without=options.values(without),
                workspaces=workspace or (),
                tables=table or (),
            ),
            registry_uri=registry_uri,
            to_registry_uri=to_registry_uri,
            auth_uri=auth_uri,
            to_auth_uri=to_auth_uri,
            include_password_hashes=include_password_hashes,
            jobs=jobs,
            compress=compress,
            label=label,
            ids=ids.value if ids else "",
            on_conflict=on_conflict.value,
            undelete=undelete,
            rewrite=options.prefixes(rewrite_artifact_prefix),
            accept=accept or (),
            dry_run=dry_run,
            confirm=lambda move: _show(output, move, yes=yes),
            progress=progress,
        )

    execute(output, call, partial(view, verbose=verbose))


def _show(output: Output, move: Move, *, yes: bool) -> None:
    """Show the plan, and ask where TO has runs of others, or something would be lost on the way.

    Raises:
        UsageError: the answer is no, or there is no terminal to ask on.
    """
    lost, is_merged = len(move.lost), any(move.plan.merged.values())
    in_use = move.plan.target_runs or is_merged
    if yes or move.plan.conflicts or not move.adds or not (lost or in_use):
        output.plan(move, _plan)
        return
    losing = f"{text.plural(lost, 'thing')} would not arrive"
    runs = f"{move.plan.target} already has runs"
    reasons = [reason for reason, holds in ((losing, lost), (runs, in_use)) if holds]
    output.confirm(
        move,
        _plan,
        question=f"{' and '.join(reasons)}. Go ahead?",
        unasked=f"{' and '.join(reasons)}, and there is no terminal to ask on; nothing was written there",
        hint="look at the plan above; to go ahead add --yes (nothing in TO is "
        f"{'deleted' if is_merged else 'overwritten or deleted'})",
    )


def _plan(move: Move) -> list[Block]:
    """What was read, what would be done, and what becomes of the snapshot."""
    saved, timestamp = move.saved, move.saved.timestamp or move.saved.unchanged_since
    lines: list[Block] = [f"Read {text.counts(saved.stats)} from {saved.source}", *_limits(move.limits)]
    lost = [f"not read: {issue.message}" for issue in saved.issues]
    lines += [Styled(f"  {line}", "yellow") for line in restore.first(lost)]
    lines += _accepted(saved, verbose=False)
    notes = [f"  note: {line}" for line in saved.warnings if line not in move.plan.notes]
    lines += [Styled(line, "yellow") for line in restore.first(notes)]
    lines += restore.plan_view(move.plan)
    kept = f"{timestamp} stays in {', '.join(move.storages)}"
    lines.append(f"The snapshot {kept if move.storages else 'is thrown away at the end (--storage keeps it)'}.")
    return lines


def _limits(limits: dict[str, tuple[str, ...]]) -> list[Block]:
    """What was left out on purpose: an option may stand in a file or the environment."""
    named = [f"{option} {', '.join(values)}" for option, values in limits.items() if values]
    return [Styled(f"  limited by {'; '.join(named)}", "yellow")] if named else []


def _accepted(saved: BackupResult, *, verbose: bool) -> list[Line]:
    """What could not be read, and somebody accepts."""
    return text.accepted(saved.accepted, saved.skipped, most=None if verbose else _NAMED)


def view(result: MigrateResult, *, verbose: bool) -> list[Block]:
    """What was moved, the proof, and where the snapshot is."""
    restored = result.restore
    if result.dry_run and restored.plan is not None:
        read = f"Would move {text.counts(result.backup.stats)} from {result.source}"
        return [
            read,
            *_limits(result.limits),
            *_accepted(result.backup, verbose=verbose),
            *restore.view(restored, verbose=verbose),
        ]
    lines: list[Block] = [f"Moved {result.source} into {result.target} in {text.seconds(result.seconds)}"]
    lines += _limits(result.limits)
    lines += _accepted(result.backup, verbose=verbose)
    lines += restore.done(restored, verbose=verbose)
    if result.storages:
        timestamp = Styled(restored.timestamp, "bold green")
        lines.append(["The snapshot ", timestamp, f" stays in {', '.join(result.storages)}"])
        words = ["mlmeta", "restore", restored.timestamp, "--storage", result.storages[0]]
        lines.append(f"Bring it back elsewhere with: {shlex.join(words)} --tracking-uri URI")
    return lines
