"""The log of a training run and its picture, from a row, a dict, for each epoch."""

from __future__ import annotations

import csv
import os

from files.paths import atomic_path


def write_log(path: str | os.PathLike, rows: list) -> None:
    with atomic_path(path) as temporary, open(temporary, "w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)


def plot_curves(path: str | os.PathLike, rows: list) -> None:
    """Draw loss and IoU by epoch into a PNG."""
    import matplotlib

    matplotlib.use("Agg")  # a server has no display
    from matplotlib import pyplot

    column = {name: [row[name] for row in rows] for name in rows[0]}
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(9, 3.5), constrained_layout=True)
    left.plot(column["epoch"], column["loss"], marker=".", label="training")
    left.set(xlabel="epoch", ylabel="loss", yscale="log")
    right.plot(column["epoch"], column["train_iou"], marker=".", label="training, augmented")
    right.plot(column["epoch"], column["val_iou"], marker=".", label="validation, averaged weights")
    right.set(xlabel="epoch", ylabel="mean IoU")
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.legend()
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=120)
    pyplot.close(figure)
