"""Rows of tables, which only a database can give and take."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from mlmeta.progress import Progress
from mlmeta.schema import ROWS
from mlmeta.stores.api import links
from mlmeta.stores.api.context import RestoreContext
from mlmeta.stores.api.workspaces import TABLE as WORKSPACES
from mlmeta.stores.target import Refusal

_REASON = "MLflow's API has no way to restore them as they were"
_MADE = frozenset({WORKSPACES, "trace_metrics", "span_metrics"})
"""Workspaces are restored by themselves; the others, of MLflow before 3.17, a server makes of its traces."""
_HINT = "restore into the server's database instead: `--tracking-uri postgresql://…`"


def restore(context: RestoreContext, _: Progress) -> None:
    """Name the tables whose rows stay out."""
    selected = context.selected
    if selected.selection.means(ROWS):
        tables: Mapping[str, int] = selected.snapshot.summary.tables
        if selected.selection.is_limited and tables:
            tables = Counter(row.table for row in selected.records(ROWS))
        for table, total in ((name, tables[name]) for name in tables if name not in _MADE):
            count = total - context.linked if table == links.TABLE else total
            if count <= 0:
                continue
            refusal = Refusal(
                kind=ROWS.many, id=f"of {table}", reason=f"{count:,}: {_REASON}", code="not_through_api", hint=_HINT
            )
            context.refused.append(refusal)
