"""`mlmeta rewrite`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from mlmeta.cli import options, text
from mlmeta.cli.output import Output
from mlmeta.cli.run import execute
from mlmeta.cli.text import Styled, Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlmeta.cli.text import Block
    from mlmeta.commands.rewrite import RewriteResult
    from mlmeta.progress import Progress
    from mlmeta.stores.rewrite import Survey

_OTHERS = 8
"""So many other beginnings are named."""

ArtifactPrefix = Annotated[
    list[str],
    options.option(
        "--artifact-prefix",
        "Locations that begin with OLD, up to there or to a slash, get NEW instead. Repeatable.",
        metavar="OLD=NEW",
        callback=options.one_a_line,
    ),
]
Database = Annotated[
    str,
    options.option(
        "--tracking-uri",
        "The server's database: sqlite:///…, postgresql://… or mysql://….",
        env=["MLMETA_TRACKING_URI", "MLFLOW_TRACKING_URI"],
        metavar="URI",
        show_default=False,
    ),
]
DryRun = Annotated[bool, options.option("--dry-run", "Show what would be changed, and write nothing.")]


def command(
    artifact_prefix: ArtifactPrefix,
    tracking_uri: Database = "",
    dry_run: DryRun = False,
    yes: options.Yes = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    no_progress: options.NoProgress = False,
) -> None:
    """Rewrite artifact locations in a database, for a bucket that moved under a living store.

    Those of experiments, runs, logged models, model versions, traces and workspaces, in one transaction; then it reads
    all of them again. It shows what would change, and asks. Run twice, it changes nothing. Back up first.
    """
    output = Output("rewrite", json, quiet, verbose, not no_progress)

    def call(progress: Progress) -> RewriteResult:
        from mlmeta.commands.rewrite import rewrite

        return rewrite(
            tracking_uri,
            options.prefixes(artifact_prefix),
            dry_run=dry_run,
            confirm=None if yes else lambda survey: _confirm(output, survey),
            progress=progress,
        )

    execute(output, call, view)


def _confirm(output: Output, survey: Survey) -> None:
    output.confirm(
        survey,
        _survey,
        question="Rewrite them?",
        unasked=f"locations in {survey.target} would be changed, and there is no terminal to ask on",
        hint="look at the plan above; to go ahead add --yes",
    )


def view(result: RewriteResult) -> list[Block]:
    """What was changed, and that all was read again; or what would be."""
    survey = result.survey
    if result.after is None:
        verdict = "Nothing was written"
        if not survey.matching:
            verdict += ": there is nothing to change"
        return [*_survey(survey), f"{verdict}{' (--dry-run)' if result.dry_run else ''}."]
    total = text.plural(sum(result.changed.values()), "location")
    lines: list[Block] = [f"Rewrote {total} in {survey.target} in {text.seconds(result.seconds)}"]
    lines += [f"  {name}: {count:,}" for name, count in result.changed.items()]
    lines += _others(survey)
    if not result.issues:
        olds = " or ".join(old for old, _ in result.prefixes)
        again = sum(one.again for one in survey.located)
        left = "no location begins" if not again else f"only {text.plural(again, 'location')} that were foreseen begin"
        lines.append(Styled(f"Read again: {left} with {olds}.", "green"))
    lines.append("A server's own settings (--default-artifact-root, --artifacts-destination) are not in the database.")
    return lines


def _survey(survey: Survey) -> list[Block]:
    """The locations, column by column, with examples."""
    rows = [(one.name, f"{one.matching:,}", f"{one.total - one.matching:,}") for one in survey.located]
    columns = ("TO CHANGE", "OTHERS")
    lines: list[Block] = [f"Artifact locations in {survey.target}:"]
    if rows:
        lines.append(Table(("LOCATIONS", *columns), rows, right=columns))
    for one in survey.located:
        for example in one.examples[:1]:
            lines += [f"  {one.name}, such as {example.old}", f"    -> {example.new}"]
    return [*lines, *_others(survey)]


def _others(survey: Survey) -> list[Block]:
    """What other locations begin with."""
    lines: list[Block] = []
    if settled := sum(one.settled for one in survey.located):
        lines.append(f"Begin with the new prefix already, and stay: {settled:,}")
    if survey.others:
        lines.append(f"Begin with something else, and stay: {', '.join(_named(survey.others))}")
    return lines


def _named(others: dict[str, int]) -> Sequence[str]:
    shown = list(others.items())
    named = [f"{count:,} with {root}" for root, count in shown[:_OTHERS]]
    if rest := sum(count for _, count in shown[_OTHERS:]):
        named.append(f"{rest:,} with others")
    return named
