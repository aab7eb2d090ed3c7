"""Environments of the frameworks that recipes are for, each with mlmeta beside it.

    python -m tests.recipes.environments [NAME…]

makes those that are missing, in the folder that `RECIPE_ENVIRONMENTS` names or in `.cache/recipes`: a minute and up to
1 GB each.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDER = Path(os.environ.get("RECIPE_ENVIRONMENTS") or ROOT / ".cache" / "recipes")
FRAMEWORKS = {
    "airflow": ("apache-airflow==3.3.2",),
    "dagster": ("dagster==1.13.29",),
    "kedro": ("kedro==1.7.0",),
    "notebook": ("nbclient==0.11.0", "ipykernel"),
    "prefect": ("prefect==3.9.1",),
    "zenml": ("zenml[local]==0.98.0",),
}
"""What is installed; the versions are those that recipes say they were tried with."""


def python_of(name: str) -> Path | None:
    """The interpreter of a framework's environment; None where there is none."""
    return _python(FOLDER / name) if _ready(name).exists() else None


def make(name: str) -> None:
    """Make an environment, unless it is there already."""
    content = f"{FRAMEWORKS[name]}\n"
    if _ready(name).exists() and _ready(name).read_text() == content:
        return
    folder = FOLDER / name
    shutil.rmtree(folder, ignore_errors=True)
    venv.create(folder, with_pip=True)
    quiet = ("--quiet", "--disable-pip-version-check")
    install = [_python(folder), "-m", "pip", "install", *quiet, *FRAMEWORKS[name], "--editable", ROOT]
    subprocess.run(install, check=True)
    _ready(name).write_text(content)


def _python(folder: Path) -> Path:
    return folder / "bin" / "python"


def _ready(name: str) -> Path:
    return FOLDER / name / ".ready"


def main() -> None:
    """Make what is missing."""
    for name in sys.argv[1:] or FRAMEWORKS:
        make(name)


if __name__ == "__main__":
    main()
