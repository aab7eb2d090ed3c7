"""The `mlmeta` command: parse, call, render."""

import gc

# For the whole process, and before anything else is imported. Neither modules nor records hold cycles to speak of:
# looking for some after every 700 objects is a tenth of the time. But what SQLAlchemy leaves behind each query must go.
gc.set_threshold(200_000, 10, 10)
