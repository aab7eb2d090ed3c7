"""The page of `mlmeta report`: what is on it (Python), and how it looks (`web/`: HTML, CSS, JavaScript)."""
