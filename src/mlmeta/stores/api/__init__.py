"""MLflow's API, read and written: any server, and whatever else `MlflowClient` can open."""
