"""Programs beside the three at the root, each run as `python -m tools.NAME`. Nothing imports them."""

import utils  # noqa: F401, first: it says what to do where OpenCV does not load
