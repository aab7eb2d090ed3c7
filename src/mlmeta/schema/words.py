"""Words about records: how many there are, and what else there is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import SequenceMatcher

from mlmeta.schema.kinds import KINDS

_NAMED = 10


def counts(stats: Mapping[str, int]) -> str:
    """Such as ``3 experiments, 31 runs, 8,402 metric points, 2 models (3 versions)``."""
    named = []
    for kind in KINDS.values():
        parts = (amount(stats[one.name], one.many.split()[-1]) for one in kind.parts.values() if stats.get(one.name))
        within = ", ".join(parts)
        if stats.get(kind.unit) or (kind.always and kind.unit in stats):
            named.append(amount(stats[kind.unit], kind.unit.replace("_", " ")) + (f" ({within})" if within else ""))
    return ", ".join(named)


def amount(count: int, many: str) -> str:
    """Such as ``1 run``, ``1 model alias`` or ``1,000 runs``, from the word for several."""
    return f"{count:,} {_one(many) if count == 1 else many}"


def _one(many: str) -> str:
    if many.endswith("ies"):
        return f"{many.removesuffix('ies')}y"
    return many.removesuffix("es") if many.endswith("ses") else many.removesuffix("s")


def closest(wanted: str, names: Iterable[str]) -> str:
    """The names that are there, those that look most like the wanted one first; ten of them at most.

    Args:
        wanted: what was asked for.
        names: what there is.
    """

    def unlikeness(name: str) -> tuple[float, str]:
        return -SequenceMatcher(None, wanted.lower(), name.lower()).ratio(), name

    found = sorted(set(names), key=unlikeness)
    return ", ".join(found[:_NAMED]) + (", …" if len(found) > _NAMED else "") if found else "none"


def limits(experiments: Sequence[str], workspaces: Sequence[str], without: Sequence[str]) -> Iterator[str]:
    """What a snapshot is limited to, in words.

    Args:
        experiments: names of those that it is limited to; none: it is not.
        workspaces: likewise.
        without: the kinds and groups that were left out on request.
    """
    for names, many in ((experiments, "experiments"), (workspaces, "workspaces")):
        if names:
            yield f"limited to {amount(len(names), many)}: {', '.join(names)}"
    if without:
        yield f"saved without {', '.join(without)}"
