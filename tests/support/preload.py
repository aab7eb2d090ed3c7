"""Imported once by the process that others are forked from: all that mlmeta, or `mlflow server`, may import.

But for what starts threads when it is imported, or is only there when it is asked for: Dask and Google's client.
"""

import gc
import os
import pkgutil
import sys
import tempfile
from importlib import import_module

import typer.rich_utils  # noqa: F401

import mlmeta
from tests.support.schemas import quick_connections, quick_schemas, quick_sessions

quick_schemas()
quick_sessions()
quick_connections()
for _module in pkgutil.walk_packages(mlmeta.__path__, "mlmeta."):
    if not _module.name.endswith(("__main__", ".dask", ".gcs", ".gcs_errors")):
        import_module(_module.name)

_GUARD = "MLFLOW_SERVER_DISABLE_SECURITY_MIDDLEWARE"
_before = os.environ.get(_GUARD)
os.environ[_GUARD] = "true"  # read when it is imported, and set for every server of the tests
try:
    for _name in ("uvicorn.main", "mlflow.cli", "mlflow.server", "mlflow.server.fastapi_app"):
        import_module(_name)
finally:
    os.environ.pop(_GUARD)
    if _before is not None:
        os.environ[_GUARD] = _before
del sys.modules["mlflow.server.fastapi_app"]  # makes the application, from the environment: each server its own
tempfile.tempdir = None  # MLflow asked for it: each process finds its own, from its environment
gc.freeze()  # a million objects that stay: no collection of a fork has to look through them
