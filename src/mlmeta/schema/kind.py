"""What records have in common, and a kind of record: what all of mlmeta has to know of it, told once."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Generic, TypeVar

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


OptionalText = Annotated[str | None, AfterValidator(lambda text: text or None)]
"""A text that is None where it is empty: MLflow's API tells the two apart of some texts, and its database of others."""


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


R = TypeVar("R", bound=Record)

RUN_GROUP = "runs"
TRACE_GROUP = "traces"
DATASET_GROUP = "datasets"
MODEL_GROUP = "models"
SETTING_GROUP = "settings"
AUTH_GROUP = "auth"
GROUPS = (RUN_GROUP, TRACE_GROUP, DATASET_GROUP, MODEL_GROUP, SETTING_GROUP, AUTH_GROUP)
"""Kinds that people choose together: runs with all that was logged for them; traces with their spans; evaluation
datasets; the model registry, prompts included; what else a server keeps, such as webhooks and scorers; and users and
permissions of basic-auth, which are meant on request only."""


def _no_title(_: Any) -> str:
    return ""


def _one(_: Any) -> int:
    return 1


@dataclass(frozen=True, eq=False)
class Kind(Generic[R]):
    """A kind of record.

    Args:
        name: the first part of its file's name, and its key in a summary; of a part of other records: its count there.
        record: the class of its records.
        one: the word for a record, such as ``logged model``.
        many: the word for several.
        key: a record's id among its like. A part's is what stands behind the key of the record that it is a part of.
        order: the sort key of a record in its file, or among the parts of a record.
        title: what people call a record; empty: its key.
        found_by: what a restore finds a record by in another store, and names it by; None: its key.
        since: the version of the snapshot format that brought it.
        always: whether its file is written even when it is empty.
        has_id: whether the key is an id that MLflow makes, and the name of a folder.
        groups: which of `GROUPS` it belongs to: those that can't do without its records.
        workspace: the workspace that a record is in; None: its records are where what they belong to is.
        experiment: the id of the experiment that a record belongs to; None: its records belong to none.
        experiments: the field with the ids of the experiments that a record belongs to, where these can be several or
            none; empty: see `experiment`.
        owner: the kind that its records belong to, which stand by themselves all the same; None: to none.
        owned_by: the key of the record that a record belongs to.
        follows: the kind whose records these come right after, in a source's stream; they are part of these.
        leader: the key of the record that a record follows.
        as_line: what makes, of a line of its file, the form in which a record that follows another goes through,
            not taken apart.
        checked: makes of a line of its file something that has less of it, or raises the error that `record` would:
            where records are just checked.
        longest: bytes that a line of its file may have; None: as those of most kinds.
        repeats: how much of what a record that follows another counts was counted with that one; None: nothing, and
            each key is there once.
        runs: ids of the runs that a record refers to, and by which it is selected; None: it refers to none.
        needs: what a record is not whole without: names of kinds, each with a key; None: it needs nothing.
        made_in: the run that a record was made in, and comes back with; None: such records come by themselves.
        counted_by: what a summary counts records by as well, such as their table; None: nothing.
        parts: fields that hold records of kinds without a file of their own.
        counts: what a record adds to the counts of a summary.
        pieces: words for what of a record can be missing by itself.
        locations: fields that say where artifacts are.
        location_tags: tags that say so.
        location_columns: columns that say so, by table, of records that are rows.
        unshown: fields that MLflow's API does not show (`search_runs`, `search_model_versions`), or that older
            snapshots through it lack.
        shows_deleted: whether MLflow's API shows deleted records.
        in_api: whether MLflow's API shows its records at all, as they are.
        unsettable: fields that MLflow's API has no way to set.
        untabled: fields that MLflow's tables have no column for.
        on_request: whether its records are saved and restored only where that is asked for, and may be read by nobody
            but the owner of their file.
        secrets: fields of which only is told that they changed, such as ``row[password_hash]``.
    """

    name: str
    record: type[R]
    one: str
    many: str
    key: Callable[[Any], str]
    order: Callable[[Any], Any]
    title: Callable[[Any], str] = _no_title
    found_by: Callable[[Any], str] | None = None
    since: str = "1.0"
    always: bool = True
    has_id: bool = False
    groups: tuple[str, ...] = (RUN_GROUP,)
    workspace: Callable[[Any], str | None] | None = None
    experiment: Callable[[Any], str] | None = None
    experiments: str = ""
    owner: Kind[Any] | None = None
    owned_by: Callable[[Any], str] | None = None
    follows: Kind[Any] | None = None
    leader: Callable[[Any], str] | None = None
    as_line: Callable[[bytes], Any] | None = None
    checked: Callable[[bytes], Any] | None = None
    longest: int | None = None
    repeats: Callable[[Any, Any], int] | None = None
    runs: Callable[[Any], Iterable[str | None]] | None = None
    needs: Callable[[Any], Iterable[tuple[str, str | None]]] | None = None
    made_in: Callable[[Any], str | None] | None = None
    counted_by: Callable[[Any], str] | None = None
    parts: dict[str, Kind[Any]] = field(default_factory=dict)
    counts: tuple[tuple[str, Callable[[Any], int]], ...] = ()
    pieces: tuple[str, ...] = ()
    locations: tuple[str, ...] = ()
    location_tags: tuple[str, ...] = ()
    location_columns: dict[str, tuple[str, ...]] = field(default_factory=dict)
    unshown: tuple[str, ...] = ()
    shows_deleted: bool = True
    in_api: bool = True
    unsettable: tuple[str, ...] = ()
    untabled: tuple[str, ...] = ()
    on_request: bool = False
    secrets: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.counts:
            object.__setattr__(self, "counts", ((self.name, _one),))

    @property
    def counted_as(self) -> str:
        """The word for several in plans, progress and results, such as ``logged models``."""
        return self.name.replace("_", " ")

    @property
    def is_located(self) -> bool:
        """Whether its records say where artifacts are."""
        return bool(self.locations or self.location_tags or self.location_columns)

    @property
    def unit(self) -> str:
        """What its records are counted in, such as ``metric_points``."""
        return self.counts[0][0]

    def found_as(self, record: R) -> str:
        """What a restore finds a record by in another store, and names it by."""
        return self.key(record) if self.found_by is None else self.found_by(record)

    def field(self, name: str) -> str:
        """The name of a field among those of all kinds, such as ``runs.artifact_uri``."""
        return f"{self.counted_as}.{name.rstrip('_')}"


def within(kind: Kind[R], record: R, experiments: Collection[str]) -> R:
    """A record that belongs to several experiments, without those that are not among some.

    Args:
        kind: of the record; it says which field that is.
        record: itself, where it belongs to no other.
        experiments: ids.
    """
    before = getattr(record, kind.experiments)
    kept = tuple(one for one in before if one in experiments)
    return record if len(kept) == len(before) else record.model_copy(update={kind.experiments: kept})
