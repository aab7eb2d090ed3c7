"""Rows of tables that no other kind of record models: settings of a server, and what newer versions of MLflow keep."""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Set
from functools import lru_cache
from operator import attrgetter
from typing import Any

from pydantic import ValidationInfo, field_validator

from mlmeta.schema.kind import SETTING_GROUP, Kind, Record

ORDER = (
    *("workspaces", "secrets", "model_definitions"),
    *("endpoints", "endpoint_model_mappings", "endpoint_tags", "endpoint_bindings", "budget_policies"),
    *("webhooks", "webhook_events"),
    *("scorers", "scorer_versions", "online_scoring_configs", "guardrails", "guardrail_configs"),
    *("label_schemas", "review_queues", "review_queue_items", "review_queue_users", "review_queue_label_schemas"),
    *("issues", "issue_categories"),
    *("mcp_servers", "mcp_server_versions", "mcp_server_tags", "mcp_server_version_tags"),
    *("mcp_server_aliases", "mcp_access_endpoints"),
    *("skills", "skill_versions", "skill_tags", "skill_version_tags", "skill_aliases"),
    *("trace_metrics", "span_metrics", "entity_associations"),
)
"""The tables that are known, parents first; others follow by name. Databases tell different foreign keys of a table."""

_OWNERS = {
    table: (owner, column)
    for owner, column, tables in (
        ("endpoints", "endpoint_id", "endpoint_model_mappings endpoint_tags endpoint_bindings guardrail_configs"),
        ("scorers", "scorer_id", "scorer_versions guardrails"),
        ("review_queues", "queue_id", "review_queue_items review_queue_users review_queue_label_schemas"),
        ("issues", "issue_id", "issue_categories"),
        ("webhooks", "webhook_id", "webhook_events"),
    )
    for table in tables.split()
}
"""Tables whose rows belong to an experiment or workspace by way of another table, and the column with its key."""
_OF_TRACES = {"trace_metrics": "request_id", "span_metrics": "trace_id"}
LINKS = "entity_associations"
"""Of traces to runs and to versions of prompts, among others."""
_EXPERIMENT = "experiment_id"
_ENDS = ("source", "destination")
"""What a link leads from and to: each is a type and an id."""

SEED_WORKSPACE = {"name": "default", "description": "Default workspace for legacy resources"}
"""The row of `workspaces` that MLflow puts into every store; other columns are NULL. It is not saved."""

WITHHELD = {"withheld": True}
"""What stands for a secret: that there is one, and nothing of it."""

_RANKS = {table: rank for rank, table in enumerate(ORDER)}


class Row(Record):
    """A row of a table.

    Values are as the database has them: a column of JSON is JSON, NULL is null, bytes are ``{"base64": …}``, a secret
    is ``{"withheld": true}``, and what JSON has no form for, such as a date, is text.

    Args:
        table: its name.
        key: the primary key by column, in its order; all columns, where the table has none.
        row: the other columns, in the table's order.
    """

    table: str
    key: dict[str, Any]
    row: dict[str, Any]

    @field_validator("row")
    @classmethod
    def _beside_the_key(cls, row: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        if not row.keys().isdisjoint(info.data.get("key", ())):
            raise ValueError("a column of the key is there twice")
        return row

    @property
    def values(self) -> dict[str, Any]:
        """All columns."""
        return {**self.key, **self.row}


class RowsOfExperiments:
    """Tells which rows belong to some experiments, or to some workspaces. To be asked for all rows, in their order.

    Args:
        experiments: ids, each with its workspace.
        workspaces: names; empty: only by experiments.
        traces: gives the ids of their traces, where that is needed.
    """

    def __init__(
        self, experiments: Mapping[str, str], workspaces: Collection[str], traces: Callable[[], Set[str]]
    ) -> None:
        self._experiments = experiments
        self._workspaces = workspaces
        self._traces = traces
        self._owners: dict[str, set[Any]] = {owner: set() for owner, _ in _OWNERS.values()}
        self.others: Counter[str] = Counter()
        """How many rows of each table belong to none of these experiments."""

    def have(self, row: Row) -> bool:
        """Whether a row belongs to one of them."""
        values = row.values
        found = self._belongs(row.table, values)
        if found and row.table in self._owners:
            self._owners[row.table].add(next(iter(row.key.values()), None))
        self.others[row.table] += not found
        return found

    def _belongs(self, table: str, values: Mapping[str, Any]) -> bool:
        if table == "workspaces":
            return values.get("name") in (self._workspaces or {*self._experiments.values()})
        if self._workspaces and values.get("workspace") is not None:
            return values["workspace"] in self._workspaces
        if _EXPERIMENT in values:
            return str(values[_EXPERIMENT]) in self._experiments
        if table == LINKS:  # a link is where what it leads from is
            return values.get("source_type") == "trace" and values.get("source_id") in self._traces()
        if table in _OF_TRACES:
            return values.get(_OF_TRACES[table]) in self._traces()
        owner, column = _OWNERS.get(table, ("", ""))
        return values.get(column) in self._owners.get(owner, ())


class RowsOfTraces(RowsOfExperiments):
    """Tells which rows belong to some traces, or to the workspaces of some experiments; see `RowsOfExperiments`."""

    def _belongs(self, table: str, values: Mapping[str, Any]) -> bool:
        return table in {"workspaces", LINKS, *_OF_TRACES} and super()._belongs(table, values)


def trace_of_run(row: Row) -> Iterator[tuple[str, str]]:
    """The run and the trace that a row links; nothing where it does something else."""
    values = row.values
    if row.table == LINKS and (values.get("source_type"), values.get("destination_type")) == ("trace", "run"):
        yield str(values.get("destination_id")), str(values.get("source_id"))


def renumbered_row(row: Row, numbers: Mapping[str, str]) -> Row:
    """A row with other ids of experiments.

    Args:
        row: of any table.
        numbers: ids of experiments, each with the other one; those that are missing stay.
    """
    columns = {_EXPERIMENT, *(f"{end}_id" for end in _ENDS if row.values.get(f"{end}_type") == "experiment")}
    changed: dict[str, Any] = {}
    for column in columns & row.values.keys():
        if (other := numbers.get(str(row.values[column]))) is not None:
            changed[column] = int(other) if isinstance(row.values[column], int) else other
    if not changed:
        return row
    key, rest = ({name: changed.get(name, value) for name, value in part.items()} for part in (row.key, row.row))
    return row.model_copy(update={"key": key, "row": rest})


def as_bytes(value: bytes) -> dict[str, str]:
    """Bytes as a snapshot has them."""
    return {"base64": base64.b64encode(value).decode()}


def bytes_of(value: Any) -> bytes | None:
    """The bytes that a value stands for; None: it stands for none."""
    if not isinstance(value, dict) or value.keys() != {"base64"} or not isinstance(value["base64"], str):
        return None
    try:
        return base64.b64decode(value["base64"], validate=True)
    except ValueError:
        return None


def is_known(table: str) -> bool:
    """Whether the order of tables names it."""
    return table in _RANKS


@lru_cache(maxsize=64)
def table_order(table: str) -> tuple[int, str]:
    """Sort key of tables: those that are known by their rank, others after them by name."""
    return _RANKS.get(table, len(ORDER)), table


def row_order(row: Row) -> tuple[tuple[int, str], tuple[tuple[int, Any], ...]]:
    """Sort key of rows: by table, then by key: nothing, numbers, texts by code points, bytes."""
    values = row.key.values()
    return table_order(row.table), tuple([(2, value) if type(value) is str else _place(value) for value in values])


def _place(value: Any) -> tuple[int, Any]:
    if isinstance(value, str):
        return 2, value
    if isinstance(value, int | float):
        return 1, value
    if value is None:
        return 0, 0
    return 3, bytes_of(value) or json.dumps(value).encode()


def row_key(row: Row) -> str:
    """A row as people read it, and as no other row is called: ``webhooks 5e0c…``, ``endpoint_tags team, e-1b9f…``."""
    return f"{row.table} {', '.join(map(_shown, row.key.values()))}"


def _shown(value: Any) -> str:
    is_plain = isinstance(value, str) and value.isprintable() and not {",", '"'} & {*value}
    return value if is_plain else json.dumps(value, ensure_ascii=False)


ROWS = Kind(
    "rows",
    Row,
    one="row",
    many="rows",
    key=row_key,
    order=row_order,
    since="1.2",
    always=False,
    groups=(SETTING_GROUP,),
    counted_by=attrgetter("table"),
    location_columns={"workspaces": ("default_artifact_root", "trace_archival_location")},
    in_api=False,
)
