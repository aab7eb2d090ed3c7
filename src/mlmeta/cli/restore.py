"""`mlmeta restore`."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Annotated

from mlmeta.cli import options
from mlmeta.cli.output import Output
from mlmeta.cli.run import execute
from mlmeta.errors import UsageError

if TYPE_CHECKING:
    from mlmeta.commands.result import Result
    from mlmeta.progress import Progress
    from mlmeta.stores.target import Plan


class Only(str, Enum):
    """A part of a snapshot."""

    RUNS = "runs"
    MODELS = "models"


class Ids(str, Enum):
    """What becomes of ids."""

    KEEP = "keep"
    NEW = "new"


class OnConflict(str, Enum):
    """What to do about other data under the same id or name."""

    FAIL = "fail"
    SKIP = "skip"
    RENAME = "rename"


IdsOption = Annotated[
    Ids | None,
    options.option(
        "--ids", "Keep ids and times (the default for databases), or take new ones (a server assigns them)."
    ),
]
OnConflictOption = Annotated[
    OnConflict,
    options.option(
        "--on-conflict",
        "If a database has other data under the same id or name, or can't hold something: write nothing, "
        "leave it out, or rename.",
    ),
]
Undelete = Annotated[
    bool, options.option("--undelete", "Make active again what is active in the snapshot and deleted in the target.")
]
Rewrite = Annotated[
    list[str] | None,
    options.option(
        "--rewrite-artifact-prefix",
        "For a bucket that moved: artifact locations that begin with OLD get NEW instead. Repeatable.",
        metavar="OLD=NEW",
        callback=options.one_a_line,
    ),
]
IfEmpty = Annotated[bool, options.option("--if-empty", "Do nothing, exit 0, when the target has runs already.")]
AllowNone = Annotated[bool, options.option("--allow-none", "Do nothing, exit 0, when there is no snapshot yet.")]
Timestamp = Annotated[str, options.option("--timestamp", f"Which snapshot: a {options.SELECTORS}", metavar="SELECTOR")]
OnlyOption = Annotated[Only | None, options.option("--only", "Only experiments and runs, or only the model registry.")]
DryRun = Annotated[bool, options.option("--dry-run", "Show what would be done, and write nothing.")]
Verify = Annotated[bool, options.option("--verify/--no-verify", "Read the target back afterwards, and compare.")]


def restore(
    timestamp: Timestamp,
    tracking_uri: options.TrackingUri = "",
    storage: options.Storage = options.DEFAULT_STORAGE,
    source: options.Source = "",
    experiment: options.Experiments = None,
    only: OnlyOption = None,
    ids: IdsOption = None,
    on_conflict: OnConflictOption = OnConflict.FAIL,
    undelete: Undelete = False,
    rewrite_artifact_prefix: Rewrite = None,
    if_empty: IfEmpty = False,
    allow_none: AllowNone = False,
    dry_run: DryRun = False,
    verify: Verify = True,
    yes: options.Yes = False,
    registry_uri: options.RegistryUri = None,
    jobs: options.Jobs = options.DEFAULT_JOBS,
    gcs_project: options.GcsProject = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    no_progress: options.NoProgress = False,
) -> None:
    """Bring a snapshot back into an MLflow store, and prove it.

    It adds; it never overwrites or deletes what the target has. Run twice, it adds nothing; interrupted and run
    again, it finishes. Exit code 3: something could not be restored; 4: what came back differs.
    """
    output = Output("restore", json, quiet, verbose, not no_progress)

    def call(progress: Progress) -> Result:
        from mlmeta.commands.restore import restore as operation
        from mlmeta.schema import Selection

        return operation(
            tracking_uri,
            timestamp,
            storage,
            of_source=source,
            selection=Selection(tuple(experiment or ()), runs=only is not Only.MODELS, models=only is not Only.RUNS),
            registry_uri=registry_uri,
            jobs=jobs,
            ids=ids.value if ids else "",
            on_conflict=on_conflict.value,
            undelete=undelete,
            rewrite=[_pair(text) for text in rewrite_artifact_prefix or ()],
            if_empty=if_empty,
            allow_none=allow_none,
            dry_run=dry_run,
            verify=verify,
            confirm=None if yes else lambda plan: _confirm(output, plan),
            progress=progress,
        )

    execute(output, call)


def _pair(text: str) -> tuple[str, str]:
    """OLD and NEW of ``OLD=NEW``.

    Raises:
        UsageError: it is not one.
    """
    old, equals, new = text.partition("=")
    if not old or not equals:
        raise UsageError(f"{text!r} is not OLD=NEW", hint="such as --rewrite-artifact-prefix gs://old=gs://new")
    return old, new


def _confirm(output: Output, plan: Plan) -> None:
    """Ask, where the target has runs of others and something would be added.

    Raises:
        UsageError: the answer is no, or there is no terminal to ask on.
    """
    if not plan.target_runs or not any((*plan.create.values(), *plan.undelete.values())):
        return
    from mlmeta.cli.views.restore import plan as shown

    output.confirm(
        plan,
        shown,
        question="It already has runs, which stay unchanged. Go ahead?",
        unasked=f"{plan.target} already has runs, and there is no terminal to ask on",
        hint="look at the plan above; to go ahead add --yes (nothing there is overwritten or deleted)",
    )
