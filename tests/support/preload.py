"""Imported once by the process that the command line's processes are forked from: all that a command may import.

But for what starts threads when it is imported, or is only there when it is asked for: Dask and Google's client.
"""

import pkgutil
from importlib import import_module

import typer.rich_utils  # noqa: F401

import mlmeta

for _module in pkgutil.walk_packages(mlmeta.__path__, "mlmeta."):
    if not _module.name.endswith(("__main__", ".dask", ".gcs", ".gcs_errors")):
        import_module(_module.name)
