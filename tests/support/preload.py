"""Imported once by the process that the command line's processes are forked from."""

import mlflow.store.model_registry.sqlalchemy_store
import mlflow.store.tracking.rest_store
import mlflow.store.tracking.sqlalchemy_store  # noqa: F401

import mlmeta.commands.backup
import mlmeta.commands.restore
import mlmeta.stores.api.exporter  # noqa: F401
