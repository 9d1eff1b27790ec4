"""The log of a training run and its picture.

python -m training.curves runs/train/log.csv curves.png
"""

from __future__ import annotations

import csv
import os
import sys

from utils import atomic_path


def write_log(path: str | os.PathLike, rows: list) -> None:
    """Write the CSV log: one row, a dict, an epoch."""
    with atomic_path(path) as temporary, open(temporary, "w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)


def plot_curves(log: str | os.PathLike, picture: str | os.PathLike) -> None:
    """Draw loss and IoU by epoch into a PNG."""
    import matplotlib

    matplotlib.use("Agg")  # a server has no display
    from matplotlib import pyplot

    with open(log, newline="") as file:
        rows = list(csv.DictReader(file))
    if not rows:
        raise ValueError(f"{log} holds no epochs")
    column = {name: [float(row[name]) for row in rows] for name in ("epoch", "loss", "train_iou", "val_iou")}
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(9, 3.5), constrained_layout=True)
    left.plot(column["epoch"], column["loss"], marker=".", label="training")
    left.set(xlabel="epoch", ylabel="loss", yscale="log")
    right.plot(column["epoch"], column["train_iou"], marker=".", label="training, augmented")
    right.plot(column["epoch"], column["val_iou"], marker=".", label="validation, averaged weights")
    right.set(xlabel="epoch", ylabel="mean IoU")
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.legend()
    with atomic_path(picture) as temporary:
        figure.savefig(temporary, dpi=120)
    pyplot.close(figure)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python -m training.curves LOG.csv PICTURE.png")
    try:
        plot_curves(*sys.argv[1:])
    except (ImportError, OSError, KeyError, TypeError, ValueError, csv.Error) as error:
        sys.exit(f"curves.py: no log to draw, nothing to draw with, or nowhere to write: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
