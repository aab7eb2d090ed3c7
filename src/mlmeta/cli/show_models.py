"""`mlmeta show --models`: the model registry."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlmeta.cli import text
from mlmeta.cli.text import Elastic, Table

if TYPE_CHECKING:
    from mlmeta.cli.text import Block, Cell
    from mlmeta.commands.show import ModelList
    from mlmeta.schema import ModelVersion, RegisteredModel


def models(result: ModelList, **_: bool) -> list[Block]:
    """A row for each version."""
    if not result.models:
        return ["No registered models."]
    most = text.shortest([v.run_id for model in result.models for v in model.versions if v.run_id])
    rows: list[tuple[Cell, ...]] = []
    for model in result.models:
        if not model.versions:
            rows.append((_title(model), "-", "-", "-", "-", "-", text.when(model.creation_timestamp), "-"))
        rows += [_version(model, version, most) for version in model.versions]
    return [
        Table(
            ("MODEL", "VERSION", "STAGE", "ALIASES", "STATUS", "RUN", "CREATED (UTC)", "SOURCE"),
            rows,
            right=("VERSION",),
            whole=("STAGE", "STATUS", "RUN", "CREATED (UTC)"),
            spare=("STATUS", "SOURCE", "CREATED (UTC)", "STAGE"),
        )
    ]


def _title(model: RegisteredModel) -> str:
    from mlmeta.schema import model_title  # not at the top: `--help` does without

    return model_title(model.name, model.workspace)


def _version(model: RegisteredModel, version: ModelVersion, most: int) -> tuple[Cell, ...]:
    aliases = ", ".join(alias for alias, number in model.aliases.items() if number == version.version)
    run = Elastic(version.run_id, version.run_id[:most]) if version.run_id else "-"
    return (
        *(_title(model), f"{version.version}", version.current_stage or "-", aliases or "-", version.status or "-"),
        *(run, text.when(version.creation_timestamp), version.source or "-"),
    )
