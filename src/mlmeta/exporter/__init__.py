"""MLflow → records."""
