"""The `mlmeta` command: parse, call, show."""
