"""`mlmeta demo`: the whole loop on an embedded store, with real `mlflow server` processes."""
