"""How many of each kind there are, in words."""

from __future__ import annotations

from collections.abc import Mapping

from mlmeta.schema.kinds import KINDS


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
    one = many.removesuffix("es") if many.endswith("ses") else many.removesuffix("s")
    return f"{count:,} {one if count == 1 else many}"
