"""The `--keep-…` options."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from mlmeta.snapshot.retention import Rules

_PANEL = "Retention"


def _count(name: str, text: str) -> object:
    return typer.Option(
        f"--keep-{name}", metavar="N", min=0, envvar=f"MLMETA_KEEP_{name.upper()}", help=text, rich_help_panel=_PANEL
    )


Last = Annotated[int, _count("last", "Keep the newest N.")]
Hourly = Annotated[int, _count("hourly", "Keep the newest of each of the last N hours that have one.")]
Daily = Annotated[int, _count("daily", "The same for days.")]
Weekly = Annotated[int, _count("weekly", "The same for weeks.")]
Monthly = Annotated[int, _count("monthly", "The same for months.")]
Yearly = Annotated[int, _count("yearly", "The same for years.")]
Within = Annotated[
    str,
    typer.Option(
        "--keep-within",
        metavar="DURATION",
        envvar="MLMETA_KEEP_WITHIN",
        help="Keep those at most this much older than the newest: 30d, 2w, 36h.",
        rich_help_panel=_PANEL,
    ),
]


def rules(*, last: int, hourly: int, daily: int, weekly: int, monthly: int, yearly: int, within: str) -> Rules:
    """What the options say.

    Raises:
        UsageError: `within` is not a duration.
    """
    from datetime import timedelta

    from mlmeta.snapshot.retention import Rules, parse_within

    return Rules(
        last=last,
        hourly=hourly,
        daily=daily,
        weekly=weekly,
        monthly=monthly,
        yearly=yearly,
        within=parse_within(within) if within else timedelta(),
    )
