"""The supervisor behind `mlmeta guard`: a child process, when its store is saved, and how both come to an end."""
