"""A backup of MLflow's metadata after every `kedro run`, whether its nodes went well or not.

Tried with Kedro 1.7.0. This is `src/YOUR_PACKAGE/hooks.py`; beside it, `settings.py` says

    from YOUR_PACKAGE.hooks import BackUpMlflow

    HOOKS = (BackUpMlflow(),)

mlmeta has to be installed where Kedro runs. The environment has `MLFLOW_TRACKING_URI`, `MLMETA_STORAGE` (a folder or
gs://bucket/prefix) and MLflow's credentials.

If a node fails, its error is that of the run, and what is wrong with the backup is logged. If only the backup fails
or lacks something (what the command calls exit code 3), the run fails with that.
"""

import logging
import os

import mlmeta
from kedro.framework.hooks import hook_impl


def back_up_mlflow() -> None:
    saved = mlmeta.backup(os.environ["MLFLOW_TRACKING_URI"], os.environ["MLMETA_STORAGE"], incremental=True)
    logging.getLogger(__name__).info("%s", saved.require_complete())


class BackUpMlflow:
    @hook_impl(trylast=True)  # after kedro-mlflow has ended its run
    def after_pipeline_run(self) -> None:
        back_up_mlflow()

    @hook_impl(trylast=True)
    def on_pipeline_error(self) -> None:
        try:
            back_up_mlflow()
        except mlmeta.MlmetaError:  # the error of the node is what counts
            logging.getLogger(__name__).exception("MLflow's metadata is not backed up")
