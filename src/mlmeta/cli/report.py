"""`mlmeta report`."""

from __future__ import annotations

import sys
import webbrowser
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from mlmeta.cli import completion, options, text
from mlmeta.cli.output import Output
from mlmeta.cli.run import execute
from mlmeta.cli.text import Styled
from mlmeta.errors import UsageError

if TYPE_CHECKING:
    from mlmeta.cli.text import Block
    from mlmeta.commands.report import ReportResult
    from mlmeta.progress import Progress

_STDOUT = "-"
_MEGABYTE = 1_000_000

File = Annotated[
    str, options.option("--output", "The file to write; - is stdout.", "-o", env="MLMETA_REPORT_OUTPUT", metavar="FILE")
]
Experiments = Annotated[
    list[str] | None,
    options.option(
        "--experiment",
        "Only this experiment, its runs, and the models with a version from them. Repeatable.",
        env="MLMETA_REPORT_EXPERIMENT",
        metavar="NAME",
        callback=options.one_a_line,
        autocompletion=completion.experiments,
        rich_help_panel=options.LIMIT,
    ),
]
MaxSize = Annotated[
    float,
    options.option(
        "--max-size",
        "Megabytes that the page shall have at most: curves get fewer points, then some are left out. Nothing else is.",
        metavar="MB",
        min=0,
        max=1000,
    ),
]
Force = Annotated[bool, options.option("--force", "Overwrite a file that is there.", "-f")]
Open = Annotated[bool, options.option("--open", "Open it in the browser.")]


def command(
    selector: options.Selector = "latest",
    output: File = "report.html",
    experiment: Experiments = None,
    workspace: options.Workspaces = None,
    max_size: MaxSize = 1,
    force: Force = False,
    open_: Open = False,
    storage: options.Storage = options.DEFAULT_STORAGE,
    source: options.Source = "",
    gcs_project: options.GcsProject = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    no_progress: options.NoProgress = False,
) -> None:
    """Write a snapshot as one HTML page, which needs neither a server nor the network.

    How runs did over time, a leaderboard that sorts and filters, scatter and parallel coordinates, curves, runs side
    by side, the model registry, what changed since the snapshot before, the health of the backups, and the command
    that brings it all back.
    """
    to_stdout = output == _STDOUT

    def call(progress: Progress) -> ReportResult:
        from mlmeta.commands.report import report

        if to_stdout and (json or open_):
            raise UsageError(f"the page goes to stdout, and so can't {'--json' if json else '--open'}", hint=_NAME_ONE)
        result = report(
            selector,
            storage,
            sys.stdout.buffer if to_stdout else output,
            of_source=source,
            experiments=experiment or (),
            workspaces=workspace or (),
            max_size=int(max_size * _MEGABYTE),
            force=force,
            progress=progress,
        )
        if open_:
            webbrowser.open(Path(result.path).resolve().as_uri())
        return result

    view_ = partial(view, is_open=open_)
    execute(Output("report", json, quiet or to_stdout, verbose, not no_progress), call, view_)


_NAME_ONE = "name a file with --output"


def view(result: ReportResult, *, is_open: bool) -> list[Block]:
    """Where it is, and what is on it."""
    counts = {"experiments": result.experiments, "runs": result.runs, "models": result.models, "curves": result.curves}
    held = ", ".join(text.amount(count, many) for many, count in counts.items())
    found: list[Block] = [
        ["Wrote ", Styled(result.path, "bold"), f" ({text.size(result.size)})", f": snapshot {result.timestamp}"],
        f"{held}{f'; compared with {result.before}' if result.before else ''}",
    ]
    if result.curves_left_out:
        left_out = text.amount(result.curves_left_out, "curves")
        found.append(Styled(f"{left_out} did not fit: --max-size 10, or --experiment NAME, has more of them", "dim"))
    if not is_open:
        found.append(Styled("Open it in any browser.", "dim"))
    return found
