"""Options that several commands share. Each has an environment variable."""

from __future__ import annotations

import os
import re
from typing import Annotated

import typer

from mlmeta.cli.several import first_line, one_a_line

_OUTPUT = "Output"
_LIMIT = "Selection"

DEFAULT_STORAGE = "backups"
DEFAULT_JOBS = 8

SELECTORS = "timestamp, the beginning of one, latest, latest~1, or an ISO 8601 time."
"""What names a snapshot, for help texts."""

_SELECTOR = f"A {SELECTORS}"
Selector = Annotated[str, typer.Argument(metavar="[SELECTOR]", envvar="MLMETA_SELECTOR", help=_SELECTOR)]
Selectors = Annotated[
    list[str] | None, typer.Argument(metavar="[SELECTOR]...", help=f"{_SELECTOR} Without one: latest.")
]
Storage = Annotated[
    str,
    typer.Option(
        "--storage",
        metavar="LOCATION",
        envvar="MLMETA_STORAGE",
        callback=first_line,
        help="A folder, or gs://bucket/prefix.",
    ),
]

Source = Annotated[
    str,
    typer.Option(
        "--source",
        metavar="NAME",
        envvar="MLMETA_SOURCE",
        help="The source that `latest` refers to, by label or tracking URI, where a storage has several.",
    ),
]


def _use_project(project: str | None) -> str | None:
    """Tell Google's client, which reads it from the environment."""
    if project:
        os.environ["GOOGLE_CLOUD_PROJECT"] = project
    return project


def _use_umask(umask: str) -> str:
    """Have others read what is made from now on."""
    if umask:
        from mlmeta.storage import LocalStorage

        if not re.fullmatch("[0-7]{1,4}", umask):
            raise typer.BadParameter("write an octal number, such as 027")
        LocalStorage.umask = int(umask, 8) & 0o777
        os.umask(LocalStorage.umask)
    return umask


Umask = Annotated[
    str,
    typer.Option(
        "--umask",
        metavar="OCTAL",
        envvar="MLMETA_UMASK",
        callback=_use_umask,
        help="Permissions that new files and folders lack: 027 lets the group read. Default: only the owner.",
    ),
]
GcsProject = Annotated[
    str | None,
    typer.Option(
        "--gcs-project",
        metavar="PROJECT",
        envvar="MLMETA_GCS_PROJECT",
        callback=_use_project,
        help="Google Cloud project, if the credentials do not name one.",
    ),
]
TrackingUri = Annotated[
    str,
    typer.Option(
        "--tracking-uri",
        metavar="URI",
        envvar=["MLMETA_TRACKING_URI", "MLFLOW_TRACKING_URI"],
        show_default=False,
        help="The MLflow server or store.",
    ),
]
RegistryUri = Annotated[
    str | None,
    typer.Option(
        "--registry-uri",
        metavar="URI",
        envvar=["MLMETA_REGISTRY_URI", "MLFLOW_REGISTRY_URI"],
        help="The model registry, if it is elsewhere.",
    ),
]
Experiments = Annotated[
    list[str] | None,
    typer.Option(
        "--experiment",
        metavar="NAME",
        envvar="MLMETA_EXPERIMENT",
        callback=one_a_line,
        help="Only this experiment, its runs, and the models with a version from them. Repeatable.",
        rich_help_panel=_LIMIT,
    ),
]
Jobs = Annotated[
    int, typer.Option("--jobs", min=1, max=256, envvar="MLMETA_JOBS", help="Number of simultaneous requests.")
]
Yes = Annotated[bool, typer.Option("--yes", "-y", envvar="MLMETA_YES", help="Don't ask for confirmation.")]
Json = Annotated[
    bool,
    typer.Option("--json", envvar="MLMETA_JSON", help="One JSON document on stdout.", rich_help_panel=_OUTPUT),
]
Quiet = Annotated[
    bool,
    typer.Option("--quiet", "-q", envvar="MLMETA_QUIET", help="Only errors and warnings.", rich_help_panel=_OUTPUT),
]
Verbose = Annotated[
    bool,
    typer.Option(
        "--verbose", "-v", envvar="MLMETA_VERBOSE", help="More detail; tracebacks of errors.", rich_help_panel=_OUTPUT
    ),
]
NoProgress = Annotated[
    bool,
    typer.Option("--no-progress", envvar="MLMETA_NO_PROGRESS", help="No progress.", rich_help_panel=_OUTPUT),
]
