"""`make bench`: mlmeta beside the floor of each route and its peers, in one run; medians and their ratios.

`python -m tests.benchmarks.run [--size S M L X] [--route NAME …] [--times 5] [--cpu]`. Prints a table in Markdown.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from tests.benchmarks.generate import SIZES
from tests.benchmarks.measure import HEAD, NOTES, Clock
from tests.benchmarks.peers import PEERS
from tests.benchmarks.routes import ROUTES, Bench

ALL = {**ROUTES, **PEERS}

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--size", nargs="+", choices=[*SIZES], default=["S", "M"])
parser.add_argument("--route", nargs="+", choices=[*ALL], default=[*ROUTES])
parser.add_argument("--times", type=int, default=5, help="turns that count, after a warm-up")
parser.add_argument("--cpu", action="store_true", help="seconds of CPU, for a machine that does other work as well")

if __name__ == "__main__":
    chosen = parser.parse_args()
    Clock.of_processors = chosen.cpu
    print(HEAD, flush=True)  # noqa: T201
    for size in chosen.size:
        with tempfile.TemporaryDirectory(prefix="mlmeta-bench-") as name:
            bench = Bench(size, Path(name), chosen.times)
            for route in chosen.route:
                ALL[route](bench)
    print("\n" + "\n".join(f"- {note}" for note in NOTES))  # noqa: T201
