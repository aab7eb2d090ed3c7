"""What all records of a snapshot have in common."""

from __future__ import annotations

from typing import Annotated, ClassVar, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

_V = TypeVar("_V")


def _by_key(mapping: dict[str, _V]) -> dict[str, _V]:
    "".join(mapping).encode()  # half a surrogate is an error: pydantic refuses to write such a value, but alters a key
    return {key: mapping[key] for key in sorted(mapping)}


SortedMap = Annotated[dict[str, _V], AfterValidator(_by_key)]
"""A map whose keys are always in code point order, so that the same content gives the same bytes."""


Int64 = Annotated[int, Field(ge=-(1 << 63), lt=1 << 63)]
"""A number that MLflow can hold: a bigger one comes from somebody who wants to see something overflow."""


DEFAULT_WORKSPACE = "default"
"""MLflow's name for the workspace that every store has (MLflow 3.10 on); in records, None stands for it."""


def _none_if_default(workspace: str | None) -> str | None:
    return None if workspace in {"", DEFAULT_WORKSPACE} else workspace


Workspace = Annotated[str | None, AfterValidator(_none_if_default)]
"""The workspace that a record is in; None: the default one, as everything of a server without workspaces."""


class Record(BaseModel):
    """One line of a data file.

    Times are milliseconds since the epoch, as in MLflow. NaN and the infinities are written as the
    strings ``"NaN"``, ``"Infinity"`` and ``"-Infinity"``. Fields that a newer minor version of the
    schema added are ignored.
    """

    model_config = ConfigDict(
        extra="ignore",
        frozen=True,
        ser_json_inf_nan="strings",
        protected_namespaces=(),
        populate_by_name=True,
    )

    left_out: ClassVar[tuple[str, ...]] = ()
    """Fields that came with a later minor version: where they are None, a line is what it was before."""

    def to_line(self) -> bytes:
        """This record as one line of JSON, without a line end; never one that could not be read again.

        Raises:
            PydanticSerializationError: a record that was made without validation holds something else than it says.
        """
        without = {name for name in self.left_out if getattr(self, name) is None} if self.left_out else None
        # `model_dump_json` would make a str of it
        return self.__pydantic_serializer__.to_json(self, by_alias=True, warnings="error", exclude=without)
