"""The log of a training run and its picture.

python -m training.curves runs/train/log.csv curves.png
"""

from __future__ import annotations

import csv
import os

from utils import Parser, UserError, atomic_path, refuse_inputs, regular_file, run


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

    names = ("epoch", "loss", "train_iou", "val_iou")
    try:
        with open(regular_file(log), newline="") as file:
            rows = list(csv.DictReader(file))
        column = {name: [float(row[name]) for row in rows] for name in names}
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        raise UserError(f"{log} is not the log of a training ({error})") from None
    if not rows:
        raise UserError(f"{log} holds no epochs")
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


def make_parser() -> Parser:
    parser = Parser("Draw the log of a training run.")
    parser.add_argument("log", help="its log.csv")
    parser.add_argument("output", help="the .png to write")
    return parser


def main() -> None:
    parser = make_parser()
    args = parser.parse_args()
    if not args.output.lower().endswith(".png"):
        parser.error(f"{args.output}: it must end in .png")
    refuse_inputs([args.output], [args.log])
    plot_curves(args.log, args.output)


if __name__ == "__main__":
    run(main)
