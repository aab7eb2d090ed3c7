"""Options that several commands share. Each has an environment variable."""

from __future__ import annotations

import os
import re
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlmeta.cli import completion
from mlmeta.errors import UsageError

if TYPE_CHECKING:
    from datetime import timedelta

    from mlmeta.snapshot.retention import Rules

_OUTPUT = "Output"
LIMIT = "Selection"
_MONITORING = "Monitoring"
_RETENTION = "Retention"

DEFAULT_STORAGE = "backups"
DEFAULT_JOBS = 8

SELECTORS = "timestamp, the beginning of one, latest, latest~1, or an ISO 8601 time."
"""What names a snapshot, for help texts."""


def option(name: str, text: str, *others: str, env: str | list[str] = "", **more: Any) -> Any:
    """An option, with the environment variable of its name: ``--keep-last`` has ``MLMETA_KEEP_LAST``.

    Args:
        name: with its dashes.
        text: of its help.
        others: further names.
        env: another variable, or several.
        more: see `typer.Option`.
    """
    variable = "MLMETA_" + name.partition("/")[0].removeprefix("--").upper().replace("-", "_")
    return typer.Option(name, *others, envvar=env or variable, help=text, **more)


class Group(str, Enum):
    """A part of a store or snapshot: see `schema.GROUPS`."""

    RUNS = "runs"
    TRACES = "traces"
    DATASETS = "datasets"
    MODELS = "models"
    SETTINGS = "settings"
    AUTH = "auth"


class LeftOut(str, Enum):
    """What can be left out of it."""

    SPANS = "spans"
    TRACES = "traces"
    DATASETS = "datasets"
    MODELS = "models"
    SETTINGS = "settings"


def values(chosen: list[Group] | list[LeftOut] | None) -> tuple[str, ...]:
    """What was chosen, as texts, each once and in one order."""
    return tuple(sorted({one.value for one in chosen or ()}))


def prefixes(texts: list[str] | None) -> list[tuple[str, str]]:
    """OLD and NEW of each ``OLD=NEW``.

    Raises:
        UsageError: one of the texts is not that.
    """
    found = []
    for text in texts or ():
        old, equals, new = text.partition("=")
        if not old or not equals:
            raise UsageError(f"{text!r} is not OLD=NEW", hint="such as gs://old=gs://new")
        found.append((old, new))
    return found


def one_a_line(context: typer.Context, parameter: typer.CallbackParam, value: list[str] | None) -> list[str]:
    """For an option that is repeatable: the lines of its variable that are not empty.

    Typer splits a variable at blanks, which are part of folders and names; so it is read once more.
    """
    text = _variable(context, parameter)
    return value or [] if text is None else _lines(text)  # Typer before 0.20 takes no None


def first_line(context: typer.Context, parameter: typer.CallbackParam, value: str) -> str:
    """For an option with one value, whose variable another command takes several from: the first of them."""
    text = _variable(context, parameter)
    return value if text is None else next(iter(_lines(text)), value)


def _variable(context: typer.Context, parameter: typer.CallbackParam) -> str | None:
    """The environment variable that gave a parameter its value; None: something else did."""
    source = context.get_parameter_source(parameter.name or "")
    if source is None or source.name != "ENVIRONMENT":
        return None
    name = variable_of(parameter)
    return os.environ[name] if name else None


def variable_of(parameter: typer.CallbackParam) -> str | None:
    """The name of the environment variable of a parameter that has a value; None: there is none."""
    names = [parameter.envvar] if isinstance(parameter.envvar, str) else parameter.envvar or ()
    return next((name for name in names if os.environ.get(name)), None)


def _lines(text: str) -> list[str]:
    return [line for line in text.replace("\r\n", "\n").split("\n") if line.strip()]


_SELECTOR = f"A {SELECTORS}"
Selector = Annotated[
    str,
    typer.Argument(metavar="[SELECTOR]", envvar="MLMETA_SELECTOR", help=_SELECTOR, autocompletion=completion.snapshots),
]
Selectors = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[SELECTOR]...", help=f"{_SELECTOR} Without one: latest.", autocompletion=completion.snapshots
    ),
]
Storage = Annotated[
    str, option("--storage", "A folder, or gs://bucket/prefix.", metavar="LOCATION", callback=first_line)
]

OnlySource = Annotated[
    str,
    option(
        "--source",
        "Only snapshots of this source, by label or tracking URI.",
        metavar="NAME",
        autocompletion=completion.sources,
    ),
]
Source = Annotated[
    str,
    option(
        "--source",
        "The source that is meant, by label or tracking URI, where a storage has several.",
        metavar="NAME",
        autocompletion=completion.sources,
    ),
]


ConfigPath = Annotated[
    str,
    option(
        "--config",
        "The configuration file. Default: the nearest mlmeta.toml, here or in a folder above "
        "(docs/reference/configuration.md).",
        metavar="FILE",
    ),
]
NoConfig = Annotated[bool, option("--no-config", "Use no configuration file.")]
Profile = Annotated[
    str,
    option(
        "--profile",
        "Values of this profile of the configuration file.",
        metavar="NAME",
        autocompletion=completion.profiles,
    ),
]


def _use_project(project: str | None) -> str | None:
    """Tell Google's client, which reads it from the environment."""
    if project:
        os.environ["GOOGLE_CLOUD_PROJECT"] = project
    return project


def _use_umask(umask: str) -> str:
    """Set who may not read what is made from now on."""
    if umask:
        from mlmeta.storage import LocalStorage

        if not re.fullmatch("[0-7]{1,4}", umask):
            raise typer.BadParameter("write an octal number, such as 027")
        LocalStorage.umask = int(umask, 8) & 0o777
        os.umask(LocalStorage.umask)
    return umask


Umask = Annotated[
    str,
    option(
        "--umask",
        "Permissions that new files and folders lack: 027 lets the group read. Default: only the owner.",
        metavar="OCTAL",
        callback=_use_umask,
    ),
]
GcsProject = Annotated[
    str | None,
    option(
        "--gcs-project",
        "Google Cloud project, if the credentials do not name one.",
        metavar="PROJECT",
        callback=_use_project,
    ),
]
TrackingUri = Annotated[
    str,
    option(
        "--tracking-uri",
        "The MLflow server or store.",
        env=["MLMETA_TRACKING_URI", "MLFLOW_TRACKING_URI"],
        metavar="URI",
        show_default=False,
    ),
]
RegistryUri = Annotated[
    str | None,
    option(
        "--registry-uri",
        "The model registry, if it is elsewhere.",
        env=["MLMETA_REGISTRY_URI", "MLFLOW_REGISTRY_URI"],
        metavar="URI",
    ),
]
IncludePasswordHashes = Annotated[
    bool, option("--include-password-hashes", "Let the password hashes of --auth-uri go into a bucket.")
]
Experiments = Annotated[
    list[str] | None,
    option(
        "--experiment",
        "Only this experiment, its runs, and the models with a version from them. Repeatable.",
        metavar="NAME",
        callback=one_a_line,
        autocompletion=completion.experiments,
        rich_help_panel=LIMIT,
    ),
]
Workspaces = Annotated[
    list[str] | None,
    option(
        "--workspace",
        "Only this workspace of MLflow, default for the default one. Repeatable.",
        metavar="NAME",
        callback=one_a_line,
        rich_help_panel=LIMIT,
    ),
]
Only = Annotated[
    list[Group] | None,
    option(
        "--only",
        "Only this part: runs, traces, datasets, models, settings or auth; with its experiments, but for the model "
        "registry. Repeatable.",
        metavar="PART",
        rich_help_panel=LIMIT,
    ),
]
Without = Annotated[
    list[LeftOut] | None,
    option(
        "--without",
        "Leave this part out: spans, the bulk of traces, or traces, datasets, models or settings. Repeatable.",
        metavar="PART",
        rich_help_panel=LIMIT,
    ),
]
RewriteArtifactPrefix = Annotated[
    list[str] | None,
    option(
        "--rewrite-artifact-prefix",
        "For a bucket that moved: artifact locations that begin with OLD get NEW instead. Repeatable.",
        metavar="OLD=NEW",
        callback=one_a_line,
    ),
]
Accept = Annotated[
    list[str] | None,
    option(
        "--accept",
        "A kind of thing, as messages name it, that may be missing: it is named, and no reason for exit code 3. "
        "Repeatable.",
        metavar="KIND",
        autocompletion=completion.gaps,
        callback=one_a_line,
    ),
]
Jobs = Annotated[int, option("--jobs", "Number of simultaneous requests.", metavar="N", min=1, max=256)]


def _is_metrics_file(path: str) -> str:
    from mlmeta.metrics import SUFFIX

    if path and not path.endswith(SUFFIX):
        raise typer.BadParameter(f"the name must end in {SUFFIX}: the collector reads no other files")
    return path


def _is_ping(url: str) -> str:
    if url:
        from mlmeta.ping import is_address

        if not is_address(url):  # and it stays untold, as it may be a secret all the same
            raise typer.BadParameter("write an address that begins with http:// or https://")
    return url


MetricsFile = Annotated[
    str,
    option(
        "--metrics-file",
        "Tell Prometheus what came of it, in this file of node_exporter's textfile collector (docs/how-to/watch.md).",
        metavar="FILE.prom",
        callback=_is_metrics_file,
        rich_help_panel=_MONITORING,
    ),
]
PingUrl = Annotated[
    str,
    option(
        "--ping",
        "Tell healthchecks.io, or what is compatible with it, that it begins and what came of it "
        "(docs/how-to/watch.md). The address is a secret: better give it by the variable.",
        metavar="PING-URL",
        callback=_is_ping,
        rich_help_panel=_MONITORING,
    ),
]
Yes = Annotated[bool, option("--yes", "Don't ask for confirmation.", "-y")]
Json = Annotated[bool, option("--json", "One JSON document on stdout.", rich_help_panel=_OUTPUT)]
Quiet = Annotated[bool, option("--quiet", "Only errors and warnings.", "-q", rich_help_panel=_OUTPUT)]
Verbose = Annotated[bool, option("--verbose", "More detail; tracebacks of errors.", "-v", rich_help_panel=_OUTPUT)]
Wide = Annotated[bool, option("--wide", "Nothing is cut to the width of the terminal.", rich_help_panel=_OUTPUT)]
NoProgress = Annotated[bool, option("--no-progress", "No progress.", rich_help_panel=_OUTPUT)]


KeepTags = Annotated[
    list[str] | None,
    option(
        "--keep-tag",
        "Beside what these rules keep, keep those with this tag. Repeatable.",
        metavar="KEY[=VALUE]",
        autocompletion=completion.tags,
        callback=one_a_line,
        rich_help_panel=_RETENTION,
    ),
]


def _keep(name: str, text: str) -> object:
    return option(f"--keep-{name}", text, metavar="N", min=0, rich_help_panel=_RETENTION)


KeepLast = Annotated[int, _keep("last", "Keep the newest N.")]
KeepHourly = Annotated[int, _keep("hourly", "Keep the newest of each of the last N hours that have one.")]
KeepDaily = Annotated[int, _keep("daily", "The same for days.")]
KeepWeekly = Annotated[int, _keep("weekly", "The same for weeks.")]
KeepMonthly = Annotated[int, _keep("monthly", "The same for months.")]
KeepYearly = Annotated[int, _keep("yearly", "The same for years.")]
KeepWithin = Annotated[
    str,
    option(
        "--keep-within",
        "Keep those at most this much older than the newest: 30d, 2w, 36h.",
        metavar="DURATION",
        rich_help_panel=_RETENTION,
    ),
]


def duration(option: str, text: str) -> timedelta:
    """What an option says.

    Raises:
        UsageError: it is not a duration.
    """
    from mlmeta.snapshot.retention import parse_within

    try:
        return parse_within(text)
    except UsageError as error:
        raise UsageError(f"{option}: {error}", hint="write 90s, 5m, 12h, 7d, or 1d12h") from error


def retention(
    *,
    last: int,
    hourly: int,
    daily: int,
    weekly: int,
    monthly: int,
    yearly: int,
    within: str,
    tags: list[str] | None,
) -> Rules:
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
        tags=tuple(tags or ()),
    )
