"""Cut pictures without a face out of pictures with one, for `evaluate.py --no-face`.

    python -m tools.crop_background --data faceseg_data --split test --output runs/background
    python evaluate.py --no-face runs/background

From each picture comes the largest square in which nothing is face or not judged: no larger than half of the
picture's shorter side, and none below a quarter. A face without a mask, as a second person's, may be in it:
look at what comes out.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dataset import open_dataset
from training.augment import clearance
from utils import Parser, UserError, atomic_path, run, write_image


def make_parser() -> Parser:
    parser = Parser("Cut pictures without a face out of pictures with one.")
    parser.add_argument("--data", default="faceseg_data", help="a data folder (default: %(default)s)")
    parser.add_argument("--split", default="test", choices=("train", "test"))
    parser.add_argument("--output", default="runs/background", help="a new folder (default: %(default)s)")
    return parser


def main() -> None:
    args = make_parser().parse_args()
    count, total = crop_backgrounds(args.data, args.split, Path(args.output))
    print(f"{args.output}: {count} pictures without a face, from {total}")


def crop_backgrounds(data: str, split: str, output: Path) -> tuple:
    """Write NAME.png for each picture that has room for it: (how many were written, how many there were).

    Raises UserError where there is none, one is broken, or something is at `output`; then nothing is written.
    """
    pairs = open_dataset(data, split)
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise UserError(f"{output} is there already: choose another --output")
    count = 0
    with atomic_path(output, folder=True) as crops:
        for name, (image, mask) in zip(pairs.names, pairs):
            square = background_square(mask)
            if square is not None:
                x, y, side = square
                write_image(crops / f"{name}.png", image[y : y + side, x : x + side])
                count += 1
        if count == 0:
            raise UserError(f"{data}: the faces of its {len(pairs)} pictures leave no room beside them")
    return count, len(pairs)


def background_square(mask: np.ndarray) -> tuple | None:
    """Find the square (x, y, side) of a HxW mask in which all is 0, as large as said above, or None."""
    shorter = min(mask.shape)
    room = clearance(mask)
    y, x = np.unravel_index(room.argmax(), room.shape)
    reach = min(room[y, x], (shorter // 2 + 1) // 2)
    side = 2 * reach - 1
    if side < shorter / 4:
        return None
    return x - reach + 1, y - reach + 1, side


if __name__ == "__main__":
    run(main)
