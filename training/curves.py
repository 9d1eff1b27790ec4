"""The log of a training and its picture, from an Epoch for each epoch."""

from __future__ import annotations

import csv
import os
from dataclasses import asdict

from files.paths import atomic_path


def write_log(path: str | os.PathLike, log: list) -> None:
    rows = [asdict(epoch) for epoch in log]
    with atomic_path(path) as temporary, open(temporary, "w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)


def plot_curves(path: str | os.PathLike, log: list) -> None:
    """Draw loss and IoU by epoch into a PNG."""
    import matplotlib

    matplotlib.use("Agg")  # a server has no display
    from matplotlib import pyplot

    epochs = [row.epoch for row in log]
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(9, 3.5), constrained_layout=True)
    left.plot(epochs, [row.loss for row in log], marker=".", label="training")
    left.set(xlabel="epoch", ylabel="loss", yscale="log")
    right.plot(epochs, [row.train_iou for row in log], marker=".", label="training, augmented")
    if log[0].val_iou is not None:
        right.plot(epochs, [row.val_iou for row in log], marker=".", label="validation, averaged weights")
    right.set(xlabel="epoch", ylabel="mean IoU")
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.legend()
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=120)
    pyplot.close(figure)
