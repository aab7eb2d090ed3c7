"""What a database holds that a snapshot does not take: counted, so that nothing is dropped silently."""

from __future__ import annotations

from collections.abc import Iterator

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from mlmeta.tracking.sql.tables import DEFAULT_WORKSPACE, Tables

_OTHER_KINDS = {
    "logged_models": "logged models",
    "trace_info": "traces",
    "assessments": "assessments of traces",
    "evaluation_datasets": "evaluation datasets",
    "scorers": "scorers",
    "issues": "issues",
    "webhooks": "webhooks",
    "endpoints": "gateway endpoints",
    "secrets": "gateway secrets",
    "mcp_servers": "MCP servers",
    "label_schemas": "label schemas",
    "review_queues": "review queues",
}


def left_out(connection: Connection, tables: Tables) -> Iterator[str]:
    """A sentence for each kind of thing that is left out."""
    for name, words in _OTHER_KINDS.items():
        if name in tables.names:
            count = connection.execute(sa.select(sa.func.count()).select_from(sa.table(name))).scalar_one()
            if count:
                yield f"{count} {words} are not part of a snapshot"
    for name, words in {"experiments": "experiments", "registered_models": "registered models"}.items():
        if name in tables and "workspace" in tables[name].c:
            query = sa.select(sa.func.count()).where(tables[name].c["workspace"] != DEFAULT_WORKSPACE)
            if count := connection.execute(query).scalar_one():
                yield f"{count} {words} of other workspaces than `{DEFAULT_WORKSPACE}` are left out"
