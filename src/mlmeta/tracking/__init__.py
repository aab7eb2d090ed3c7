"""The connection to an MLflow server or store: addresses, credentials, errors."""
