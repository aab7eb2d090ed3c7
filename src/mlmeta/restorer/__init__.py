"""Records → MLflow."""
