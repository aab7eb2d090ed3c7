"""Snapshots in a storage: layout, writing, reading, selecting, verifying."""
