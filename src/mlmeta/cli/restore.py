"""`mlmeta restore`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from mlmeta.cli import completion, options, text
from mlmeta.cli.output import Output
from mlmeta.cli.run import execute
from mlmeta.cli.text import Styled, Table
from mlmeta.errors import UsageError

if TYPE_CHECKING:
    from mlmeta.cli.text import Block
    from mlmeta.commands.restore import RestoreResult
    from mlmeta.progress import Progress
    from mlmeta.snapshot.picked import Chosen
    from mlmeta.stores.proof import Comparison
    from mlmeta.stores.target import Plan

_NAMED = 20


class Ids(str, Enum):
    """What becomes of ids."""

    KEEP = "keep"
    NEW = "new"


class OnConflict(str, Enum):
    """What to do about other data under the same id or name."""

    FAIL = "fail"
    SKIP = "skip"
    RENAME = "rename"
    MERGE = "merge"


IdsOption = Annotated[
    Ids | None,
    options.option(
        "--ids",
        "Keep ids and times (the default for databases), or take new ones (a server assigns them).",
        metavar="keep|new",
    ),
]
OnConflictOption = Annotated[
    OnConflict,
    options.option(
        "--on-conflict",
        "If a database has other data under the same id or name, or can't hold something: write nothing, "
        "leave it out, rename, or merge: add what is missing to what is there, experiments by name.",
        metavar="fail|skip|rename|merge",
    ),
]
Runs = Annotated[
    list[str] | None,
    options.option(
        "--run",
        "Only this run, by its id or the beginning of it, with what it needs: its experiment, parents, and logged "
        "models; and its traces. Repeatable.",
        metavar="ID",
        callback=options.one_a_line,
        rich_help_panel=options.LIMIT,
    ),
]
Children = Annotated[
    bool, options.option("--children", "With the runs nested in those of --run.", rich_help_panel=options.LIMIT)
]
Models = Annotated[
    list[str] | None,
    options.option(
        "--model",
        "Only this registered model, or one of its versions, with its runs. Repeatable.",
        metavar="NAME[@ALIAS|/VERSION]",
        callback=options.one_a_line,
        autocompletion=completion.models,
        rich_help_panel=options.LIMIT,
    ),
]
Missing = Annotated[
    bool,
    options.option(
        "--missing",
        "Bring back what is gone; where something else in a database is in the way, leave it out, as --on-conflict "
        "skip does.",
    ),
]
Undelete = Annotated[
    bool, options.option("--undelete", "Make active again what is active in the snapshot and deleted in the target.")
]
Tables = Annotated[
    list[str] | None,
    options.option(
        "--table",
        "Also restore the rows of this table, though nothing tells that the target's is MLflow's. Repeatable.",
        metavar="NAME",
        callback=options.one_a_line,
    ),
]
IfEmpty = Annotated[
    bool,
    options.option(
        "--if-empty",
        "Do nothing, exit 0, when the target has runs already, or, if it is a database, traces, models or datasets.",
    ),
]
AllowNone = Annotated[bool, options.option("--allow-none", "Do nothing, exit 0, when there is no snapshot yet.")]
Selector = Annotated[
    str | None,
    typer.Argument(
        metavar="[SELECTOR]",
        help=f"Which snapshot: a {options.SELECTORS} Without one: what --timestamp says.",
        autocompletion=completion.snapshots,
    ),
]
Timestamp = Annotated[
    str,
    options.option(
        "--timestamp",
        "The same as an option.",
        metavar="SELECTOR",
        autocompletion=completion.snapshots,
    ),
]
AuthUri = Annotated[
    str,
    options.option(
        "--auth-uri",
        "Also restore users, password hashes, roles and permissions of basic-auth: the URI of their database, or "
        "`same` if the tracking database has the tables. By themselves: --only auth.",
        env="MLMETA_RESTORE_AUTH_URI",
        metavar="URI",
    ),
]
DryRun = Annotated[bool, options.option("--dry-run", "Show what would be done, and write nothing.")]
Verify = Annotated[bool, options.option("--verify/--no-verify", "Read the target back afterwards, and compare.")]


def command(
    context: typer.Context,
    selector: Selector = None,
    timestamp: Timestamp = "latest",
    tracking_uri: options.TrackingUri = "",
    storage: options.Storage = options.DEFAULT_STORAGE,
    source: options.Source = "",
    run: Runs = None,
    children: Children = False,
    model: Models = None,
    experiment: options.Experiments = None,
    only: options.Only = None,
    workspace: options.Workspaces = None,
    without: options.Without = None,
    ids: IdsOption = None,
    on_conflict: OnConflictOption = OnConflict.FAIL,
    missing: Missing = False,
    undelete: Undelete = False,
    rewrite_artifact_prefix: options.RewriteArtifactPrefix = None,
    table: Tables = None,
    accept: options.Accept = None,
    if_empty: IfEmpty = False,
    allow_none: AllowNone = False,
    dry_run: DryRun = False,
    verify: Verify = True,
    yes: options.Yes = False,
    registry_uri: options.RegistryUri = None,
    auth_uri: AuthUri = "",
    jobs: options.Jobs = options.DEFAULT_JOBS,
    gcs_project: options.GcsProject = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    wide: options.Wide = False,
    no_progress: options.NoProgress = False,
) -> None:
    """Bring a snapshot back into an MLflow store, and prove it.

    It adds; it never overwrites or deletes what the target has. Run twice, it adds nothing; interrupted and run
    again, it finishes. Exit code 3: something could not be restored; 4: what came back differs.
    """
    output = Output("restore", json, quiet, verbose, not no_progress, wide)

    def call(progress: Progress) -> RestoreResult:
        from mlmeta.commands.restore import restore
        from mlmeta.schema import Selection

        return restore(
            tracking_uri,
            _meant(context, selector, timestamp),
            storage,
            of_source=source,
            selection=Selection(
                tuple(experiment or ()),
                options.values(only),
                options.values(without),
                tuple(workspace or ()),
                tuple(table or ()),
                runs=tuple(run or ()),
                models=tuple(model or ()),
                children=children,
            ),
            registry_uri=registry_uri,
            auth_uri=auth_uri,
            jobs=jobs,
            ids=ids.value if ids else "",
            on_conflict=on_conflict.value,
            undelete=undelete,
            missing=missing,
            rewrite=options.prefixes(rewrite_artifact_prefix),
            accept=accept or (),
            if_empty=if_empty,
            allow_none=allow_none,
            dry_run=dry_run,
            verify=verify,
            confirm=None if yes else lambda plan: _confirm(output, plan),
            progress=progress,
        )

    execute(output, call, partial(view, verbose=verbose))


def _meant(context: typer.Context, selector: str | None, timestamp: str) -> str:
    """Which snapshot is meant. What is named as an argument goes before a variable, and before the file.

    Raises:
        UsageError: argument and option name two.
    """
    if selector is None:
        return timestamp
    source = context.get_parameter_source("timestamp")
    if selector != timestamp and source is not None and source.name == "COMMANDLINE":
        raise UsageError(
            f"two snapshots are named: {selector}, and {timestamp} by --timestamp", hint="leave one of them out"
        )
    return selector


def _confirm(output: Output, plan: Plan) -> None:
    """Ask, where the target has runs of others and something would be added, or what it has would be added to.

    Raises:
        UsageError: the answer is no, or there is no terminal to ask on.
    """
    is_merged = any(plan.merged.values())
    if not is_merged and not (plan.target_runs and any((*plan.create.values(), *plan.undelete.values()))):
        return
    stay, kept = "stay unchanged", "overwritten or deleted"
    if is_merged:
        stay, kept = "are added to", "deleted"
    output.confirm(
        plan,
        plan_view,
        question=f"It already has runs, which {stay}. Go ahead?",
        unasked=f"{plan.target} already has runs, and there is no terminal to ask on",
        hint=f"look at the plan above; to go ahead add --yes (nothing there is {kept})",
    )


def view(result: RestoreResult, *, verbose: bool) -> list[Block]:
    """What was done, and the proof."""
    if result.untouched:
        return [f"Nothing to do for {result.target}: {result.untouched}."]
    if result.dry_run and result.plan is not None:
        accepted = text.accepted(result.accepted, result.plan.refused, most=None if verbose else _NAMED)
        return [*plan_view(result.plan, named=False), *accepted, "Nothing was written (--dry-run)."]
    where = f" into {result.target} in {text.seconds(result.seconds)}"
    chosen = result.plan.chosen if result.plan is not None else ()
    named = [f"  {one.kind} {one.id}" + (f" ({one.name})" if one.name else "") for one in chosen if one.is_asked]
    lines: list[Block] = [["Restored ", Styled(result.timestamp, "bold green"), where], *first(named)]
    return [*lines, *done(result, verbose=verbose)]


def done(result: RestoreResult, *, verbose: bool) -> list[Block]:
    """What a restore wrote, and the proof."""
    lines: list[Block] = [f"  created: {_kinds(result.created)}"]
    if any(result.present.values()):
        lines.append(f"  there already: {_kinds(result.present)}")
    if any(result.merged.values()):
        lines.append(f"  added to: {_kinds(result.merged)}")
    if any(result.undeleted.values()):
        lines.append(f"  active again: {_kinds(result.undeleted)}")
    lines += text.accepted(result.accepted, result.refused, most=None if verbose else _NAMED)
    if result.comparison is not None:
        lines += _proof(result.comparison, keeps_ids=result.keeps_ids, verbose=verbose)
    return lines


def plan_view(plan: Plan, *, named: bool = True) -> list[Block]:
    """What a restore would do.

    Args:
        plan: says it.
        named: whether conflicts and notes are named; if not, something else does it.
    """
    ids = "ids and times are kept" if plan.keeps_ids else "new ids; the original ones go into tags"
    lines: list[Block] = [f"Restore into {plan.target} ({ids}):"]
    if plan.chosen:
        lines.append(_chosen(plan.chosen))
    lines.append(f"  to create: {_kinds(plan.create)}")
    if any(plan.present.values()):
        lines.append(f"  there already: {_kinds(plan.present)}")
    if any(plan.merged.values()):
        lines.append(f"  to add to: {_kinds(plan.merged)}")
    if any(plan.changed.values()):
        lines.append(f"  there with other content, and left as it is: {_kinds(plan.changed)}")
    if any(plan.undelete.values()):
        lines.append(f"  to make active again: {_kinds(plan.undelete)}")
    if named:
        told = [f"conflict: {c.kind} {c.id}: {c.reason}" for c in plan.conflicts]
        told += [f"{r.code.replace('_', ' ')}: {r.kind} {r.id}: {r.reason}" for r in plan.refused]
        notes = [f"note: {note}" for note in plan.notes]
        lines += [Styled(f"  {line}", "yellow") for line in (*first(told), *first(notes))]
    return lines


def _chosen(chosen: Sequence[Chosen]) -> Table:
    """What was named, and what that needs: the first of it."""
    rows = [(one.kind, one.id, one.name, one.reason, one.state) for one in chosen[:_NAMED]]
    if more := len(chosen) - _NAMED:
        rows += [("…", f"and {more:,} more", "", "", "")] if more > 0 else []
    return Table(("WHAT", "ID", "NAME", "WHY", "STATE"), rows, whole=("ID",))


def first(lines: list[str]) -> list[str]:
    """So many lines that a person reads them, and how many more there are."""
    more = len(lines) - _NAMED
    return [*lines[:_NAMED], f"… and {more:,} more"] if more > 0 else lines


def _proof(comparison: Comparison, *, keeps_ids: bool, verbose: bool) -> list[Block]:
    rows = []
    for kind, count in comparison.compared.items():
        matching = comparison.matching.get(kind, 0)
        style = "green" if matching == count else "yellow" if comparison.is_equal else "bold red"
        rows.append((text.many(kind), f"{count:,}", Styled(f"{matching:,}", style)))
    columns = ("IN SNAPSHOT", "MATCHING")
    lines: list[Block] = ["", Table(("READ BACK", *columns), rows, right=columns)]
    if comparison.total_changed:
        lines.append(
            f"There before with other content, or added to since, and left as it is: {comparison.total_changed:,}"
        )
        told = [str(difference) for difference in comparison.changed]
        lines += [f"  {line}" for line in (told if verbose else first(told))]
    if comparison.unkept and keeps_ids:
        fields = ", ".join(comparison.unkept)
        lines.append(Styled(f"Not compared, because MLflow's database has no place for it: {fields}", "dim"))
    elif comparison.unkept:
        fields = ", ".join(comparison.unkept) if verbose else "creation times, artifact URIs and others; see --verbose"
        lines.append(Styled(f"Not compared, because MLflow's API can't set them: {fields}", "dim"))
    return lines


def _kinds(counts: Mapping[str, int]) -> str:
    from mlmeta.schema import WITH_PARTS

    order = {kind.counted_as: place for place, kind in enumerate(WITH_PARTS)}
    known = sorted(counts, key=lambda kinds: order.get(kinds, len(order)))
    named = [text.amount(counts[kinds], kinds) for kinds in known if counts[kinds]]
    return ", ".join(named) or "nothing"
