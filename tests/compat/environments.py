"""Environments of other MLflow versions, each with the least that runs `mlflow server` there.

    python -m tests.compat.environments [VERSION…]

makes those that are missing, in the folder that `COMPAT_ENVIRONMENTS` names or in `.cache/environments`. One takes
about 20 seconds and 250 MB: MLflow by itself, then its own requirements but for the packages of data scientists, which
would be another 700 MB that no server imports.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import venv
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDER = Path(os.environ.get("COMPAT_ENVIRONMENTS") or ROOT / ".cache" / "environments")
VERSIONS = {"2.22": "2.22.5", "3.1": "3.1.4", "3.5": "3.5.1", "3.10": "3.10.1", "3.17": "3.17.2", "3.18": "3.18.0"}
"""The last release of each."""
CURRENT = "3.17"
_SKINNY = {"3.18.0": "3.17.2"}
"""Releases whose mlflow-skinny is not on PyPI, and the one that does. It is only needed for what it requires: the
package mlflow holds all of its files."""
_UNUSED = {"docker", "matplotlib", "mlflow-tracing", "pyarrow", "scikit-learn", "scipy", "skops", "waitress"}
_LIMITS = {
    **dict.fromkeys(VERSIONS, ("sqlalchemy<2.1",)),  # those before 3.10 don't start with a newer one
    "3.1": ("sqlalchemy<2.1", *(f"opentelemetry-{part}<1.35" for part in ("api", "proto", "sdk"))),  # else no span ends
}
_REQUIRED = "import importlib.metadata as m, json; print(json.dumps(m.requires('mlflow')))"


def python_of(name: str) -> Path | None:
    """The interpreter of a version's environment; None where there is none.

    The tests' own environments will do where they have that version: `make test-lowest` makes one of 2.22.
    """
    if _ready(name).exists():
        return _python(FOLDER / name)
    own = [Path(sys.executable), _python(ROOT / ".venv-lowest")]
    return next((python for python in own if python.exists() and _has(python, name)), None)


def make(name: str) -> None:
    """Make the environment of a version, unless it is there already."""
    if _ready(name).exists() and _ready(name).read_text() == _content(name):
        return
    folder, release = FOLDER / name, VERSIONS[name]
    shutil.rmtree(folder, ignore_errors=True)
    venv.create(folder, with_pip=True)
    _pip(folder, "--no-deps", f"mlflow=={release}")
    required = json.loads(subprocess.check_output([_python(folder), "-c", _REQUIRED], text=True))
    skinny = f"mlflow-skinny=={_SKINNY.get(release, release)}"
    _pip(folder, skinny, *_LIMITS[name], *filter(_is_used, required))
    if release in _SKINNY:  # whose files lie over MLflow's own now
        _pip(folder, "--no-deps", "--force-reinstall", f"mlflow=={release}")
    _ready(name).write_text(_content(name))


def _is_used(requirement: str) -> bool:
    name = requirement.split(";", maxsplit=1)[0].rstrip()
    for sign in "<>=!~[ ":
        name = name.split(sign)[0]
    return name.lower() not in {*_UNUSED, "mlflow-skinny"} and "extra ==" not in requirement


def _pip(folder: Path, *arguments: str) -> None:
    quiet = ("--quiet", "--disable-pip-version-check", "--no-warn-conflicts")
    subprocess.run([_python(folder), "-m", "pip", "install", *quiet, *arguments], check=True)


def _python(folder: Path) -> Path:
    return folder / "bin" / "python"


def _ready(name: str) -> Path:
    return FOLDER / name / ".ready"


def _content(name: str) -> str:
    """What decides the content of an environment."""
    return f"{VERSIONS[name]} {_LIMITS[name]} {sorted(_UNUSED)}\n"


def _has(python: Path, name: str) -> bool:
    if python == Path(sys.executable):
        found = version("mlflow")
    else:
        found = next((path.name for path in python.parents[1].glob("lib/*/site-packages/mlflow-*.dist-info")), "")
        found = found.removeprefix("mlflow-")
    return found.startswith(f"{name}.")


def main() -> None:
    """Make what is missing."""
    for name in sys.argv[1:] or VERSIONS:
        make(name)


if __name__ == "__main__":
    main()
