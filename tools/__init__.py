"""Programs beside the three at the root, each run as `python -m tools.NAME`. Nothing imports them."""
