"""What `mlflow gc` leaves behind of a run: what it used and made. A restore takes these rows over as they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from mlmeta.stores.sql.database_tables import Tables, among

Link = tuple[str, str, str, str]
"""The primary key of the table `inputs`: type and id of a source and of a destination."""


@dataclass(frozen=True)
class Leftover:
    """A row of the table `inputs`, with its tags.

    Args:
        input_uuid: its id.
        step: of a model that the run made.
        tags: of a dataset that the run used.
    """

    input_uuid: str
    step: int
    tags: dict[str, str] = field(default_factory=dict)


def leftovers(connection: Connection, tables: Tables, ids: Sequence[str]) -> dict[Link, Leftover]:
    """The rows of these runs, which are not there any more.

    Args:
        connection: in a transaction.
        tables: of that database.
        ids: of the runs, at most a batch.
    """
    inputs, dialect = tables["inputs"].c, connection.dialect.name
    link = (inputs.source_type, inputs.source_id, inputs.destination_type, inputs.destination_id)
    query = sa.select(*link, *tables.columns("inputs", "input_uuid", "step")).where(
        sa.or_(
            sa.and_(inputs.destination_type == "RUN", among(inputs.destination_id, ids, dialect)),
            sa.and_(inputs.source_type.in_(("RUN_INPUT", "RUN_OUTPUT")), among(inputs.source_id, ids, dialect)),
        )
    )
    found = {tuple(row[:4]): Leftover(row.input_uuid, row.step or 0) for row in connection.execute(query)}
    by_id = {leftover.input_uuid: leftover for leftover in found.values()}
    if by_id:
        tags = tables["input_tags"].c
        where = among(tags.input_uuid, list(by_id), dialect)
        for row in connection.execute(sa.select(tags.input_uuid, tags.name, tags.value).where(where)):
            by_id[row.input_uuid].tags[row.name] = row.value or ""
    return found
