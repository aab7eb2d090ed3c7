"""The `mlmeta` command: parse, call, render."""

import gc

gc.disable()  # for as long as there is nothing but imports: `mlmeta.cli.run` switches it on
