"""MLflow's tables, read and written: ids, times and everything else arrive as they were."""
