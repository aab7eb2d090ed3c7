"""Reads MLflow's tables into records. Knows no `mlflow`; used for backups and for comparing a target."""
