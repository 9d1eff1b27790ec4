"""What hands before faces and coloured or dim light cost, measured on crops of faces with known masks.

    python -m tools.stress --data DIR --no-face NOFACE [--weights W]

Of each picture of the test part of DIR the largest face is cropped as in the validation of a training. Hands
are those of the pictures in NOFACE, laid before the faces by the training's code with a fixed seed; the table
compares the same faces with and without. Every crop is brightened as at inference.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dataset import open_dataset
from faces.metrics import print_table, score_mask, summarise
from files.masks import read_mask
from files.pictures import picture_files, read_image
from runtimes.choose import add_network_options, open_runtime
from runtimes.weights import trained_size
from training.augment import as_given
from training.covers import Place
from training.crops import SMALLEST, face_boxes, face_crop, warp
from training.hands import find_hand, lay_hand
from training.photometric import darken, white_balance
from utils import Parser, UserError, preprocess, run

PORTRAIT = [Path(__file__).parents[1] / "docs" / name for name in ("portrait.png", "portrait_mask.png")]
LIGHTS = {"violet": (0.6, 0.9, 1.5), "orange": (1.5, 0.9, 0.6), "magenta": (1.3, 0.7, 1.3)}  # gains of RGB
DIM = 0.18  # of the brightness


def main() -> None:
    args = make_parser().parse_args()
    runtime = open_runtime(args.weights, args.runtime, args.device, args.precision)
    size = args.size or trained_size(args.weights)
    pairs = open_dataset(args.data, "test")
    crops = [cut_face(*pairs[index], size) for index in range(len(pairs))]
    crops = [crop for crop in crops if crop is not None]
    if not crops:
        raise UserError(f"{args.data}: its test part has no face of {SMALLEST} pixels or more")
    hands = [find_hand(read_image(path)) for path in picture_files(args.no_face)]
    hands = [hand for hand in hands if hand is not None]
    if not hands:
        raise UserError(f"{args.no_face}: no hand is found in these pictures; take others")
    print(f"{runtime.name}, crops of {size} pixels, {len(hands)} hands")
    for name, some in (("test part", crops), ("portrait", [cut_face(*read_portrait(), size)])):
        scores = measure(some, hands, runtime)
        print(f"\n{name}")
        print_table([(f"{case:<16}", summarise(figures)) for case, figures in scores.items() if figures])


def make_parser() -> Parser:
    parser = Parser("Measure what hands before faces and coloured or dim light cost.")
    add_network_options(parser)
    parser.add_argument("--data", required=True, help="a data folder with a test part, as for evaluate.py")
    parser.add_argument("--no-face", required=True, metavar="DIR", help="pictures of hands without a face")
    return parser


def read_portrait() -> tuple:
    image, mask = PORTRAIT
    return read_image(image), read_mask(mask)


def cut_face(image: np.ndarray, mask: np.ndarray, size: int) -> tuple | None:
    """Return (crop, its mask, the face's place) of the largest face, or None where none is large enough."""
    boxes = face_boxes(mask)
    if not boxes:
        return None
    matrix = face_crop(boxes[0], mask.shape, size)
    return *warp(image, mask, matrix, size), Place(matrix, boxes[0])


def measure(crops: list, hands: list, runtime) -> dict:
    """Return {case: scores of the crops} of faces as they are, in other light, with a hand and without."""
    cases = ("as it is", "dim", *LIGHTS, "with a hand", "the same without")
    scores, rng = {case: [] for case in cases}, np.random.default_rng(0)
    for image, mask, place in crops:
        plain = score(runtime, image, mask)
        scores["as it is"].append(plain)
        scores["dim"].append(score(runtime, darken(image, DIM), mask))
        for name, gains in LIGHTS.items():
            scores[name].append(score(runtime, white_balance(image, gains), mask))
        covered, covered_mask = lay_hand(image, mask, place, hands[rng.integers(len(hands))], rng)
        if covered is not image:  # some hands do not fit before some faces
            scores["with a hand"].append(score(runtime, covered, covered_mask))
            scores["the same without"].append(plain)
    return scores


def score(runtime, image: np.ndarray, mask: np.ndarray) -> tuple:
    return score_mask(runtime(preprocess(as_given(image))[None])[0, 0] > 0, mask)


if __name__ == "__main__":
    run(main)
