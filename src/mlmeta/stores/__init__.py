"""All that knows MLflow, cut by route: its tables (`sql`) and its API (`api`), each to read and to write."""
