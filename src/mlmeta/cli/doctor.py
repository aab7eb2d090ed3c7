"""`mlmeta doctor`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlmeta.cli import options
from mlmeta.cli.config import called, heading, settings_of, table
from mlmeta.cli.output import Output
from mlmeta.cli.run import execute
from mlmeta.cli.settings import META, Settings, origin
from mlmeta.cli.text import Styled

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlmeta.cli.text import Block
    from mlmeta.commands.config import Setting
    from mlmeta.commands.doctor import DoctorResult
    from mlmeta.progress import Progress

Storages = Annotated[
    list[str] | None,
    options.option(
        "--storage",
        "A folder, or gs://bucket/prefix. Repeatable. Default: those of `mlmeta backup`.",
        metavar="LOCATION",
        callback=options.one_a_line,
    ),
]
Label = Annotated[str, options.option("--label", "The name that the backups are given.", metavar="NAME")]
MaxAge = Annotated[
    str,
    options.option(
        "--max-age",
        "Exit code 4 if a storage has no sound snapshot that is at most this old, such as 26h or 8d.",
        metavar="DURATION",
    ),
]
ReadOnly = Annotated[bool, options.option("--read-only", "Write no file into a storage, and remove none.")]
MetricsFile = Annotated[
    str,
    options.option(
        "--metrics-file",
        "The file that backups write, which tells of the last trial restore. It is only read.",
        metavar="FILE.prom",
    ),
]

_ALWAYS = ("tracking-uri", "storage")
"""Options whose values are shown whatever they are."""
_STYLES = {"ok": "green", "warning": "yellow", "failed": "bold red"}


def command(
    context: typer.Context,
    max_age: MaxAge = "",
    tracking_uri: options.TrackingUri = "",
    storage: Storages = None,
    label: Label = "",
    source: options.Source = "",
    read_only: ReadOnly = False,
    metrics_file: MetricsFile = "",
    registry_uri: options.RegistryUri = None,
    gcs_project: options.GcsProject = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    wide: options.Wide = False,
    no_progress: options.NoProgress = False,
) -> None:
    """See whether backups work: configuration, versions, the store, each storage, the newest snapshot.

    It looks at what `mlmeta backup` would use here. Into each storage a small file is written and removed. Exit code
    1: a check failed. 4: the newest snapshot is older than --max-age.
    """
    root: Any = context.find_root()
    configuration: Settings = root.meta[META]

    def call(progress: Progress) -> DoctorResult:
        from mlmeta.commands.doctor import doctor

        configuration.check()
        backup = called(root, "backup", list(_words(context)))
        values = backup.params
        found = doctor(
            values["tracking_uri"],
            values["storage"],
            registry_uri=values["registry_uri"],
            auth_uri=values["auth_uri"],
            label=values["label"],
            of_source=source,
            experiments=values["experiment"] or (),
            workspaces=values["workspace"] or (),
            without=options.values(values["without"]),
            if_changed=values["if_changed"],
            prunes=any(value for name, value in values.items() if name.startswith("keep_")),
            max_age=options.duration("--max-age", max_age) if max_age else None,
            metrics_file=metrics_file or values["metrics_file"],
            read_only=read_only,
            progress=progress,
        )
        shown = (one for one in settings_of(backup) if one.source != "default" or one.option in _ALWAYS)
        file = str(configuration.file.path) if configuration.file else ""
        update = {"settings": tuple(shown), "file": file, "profile": configuration.profile}
        return found.model_copy(update=update)

    execute(Output("doctor", json, quiet, verbose, not no_progress, wide), call, view)


def _words(context: typer.Context) -> Iterator[str]:
    """What was said to the doctor and is meant for `mlmeta backup`, as that takes it.

    Variables, and what the configuration file says for all commands, it finds by itself.
    """
    for parameter in context.command.params:
        where, name = origin(context, parameter), parameter.opts[0]
        if name not in {"--tracking-uri", "--storage", "--label", "--registry-uri"}:
            continue
        if where.source == "option" or where.section.endswith("doctor]"):
            value = context.params[parameter.name or ""]
            for one in value if isinstance(value, list) else [value]:
                yield f"{name}={one}"


def view(result: DoctorResult) -> list[Block]:
    """What is configured, and a line for each check, with one on what to do below it."""
    return [*heading(result.file, result.profile), "", *_settings(result.settings, result.file), "", *_checks(result)]


def _settings(settings: tuple[Setting, ...], file: str) -> list[Block]:
    return [table(settings, file)] if settings else []


def _checks(result: DoctorResult) -> Iterator[Block]:
    for check in result.checks:
        state = check.state.value
        yield [Styled(f"{state:<9}", _STYLES[state]), check.text]
        if check.hint:
            yield f"{'':9}{check.hint}"
