"""Draw what the training does to the portrait, each change by itself and then all of them, as one sheet.

    python -m tools.augmentations --output docs/augmentation.jpg

Green is the edge of what the mask calls face after the change; red is not judged.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from dataset import read_mask
from files.paths import refuse_inputs
from files.pictures import read_image, write_image
from training import covers, photometric
from training.augment import augment
from training.crops import face_boxes, random_crop, upright_crop, warp
from utils import FACE, NOT_JUDGED, Parser, run

PORTRAIT, MASK = (Path(__file__).parent.parent / "docs" / f"portrait{end}.png" for end in ("", "_mask"))
SIDE = 100
IN_A_ROW, ROWS = 8, 4


def main() -> None:
    output = make_parser().parse_args().output
    refuse_inputs([output], [PORTRAIT, MASK])
    image, mask = read_image(PORTRAIT), read_mask(MASK)
    other = image[-image.shape[0] // 3 :]  # no face there: what is laid before faces is cut from it
    tiles = [draw(name, *pair) for name, pair in changes(image, mask, other).items()]
    rng = np.random.default_rng(0)
    while len(tiles) < ROWS * IN_A_ROW:
        tiles.append(draw("all together", *augment(image, mask, SIDE, rng, other)))
    rows = [np.hstack(tiles[start : start + IN_A_ROW]) for start in range(0, len(tiles), IN_A_ROW)]
    write_image(output, np.vstack(rows))


def make_parser() -> Parser:
    parser = Parser("Draw what the training does to the portrait.")
    parser.add_argument("--output", required=True, help="a picture to write")
    return parser


def changes(image: np.ndarray, mask: np.ndarray, other: np.ndarray) -> dict:
    """Return {name: (picture, mask)} of every change, at SIDE pixels, each with a seed of its own."""
    box = face_boxes(mask)[0]
    matrix = upright_crop(box, SIDE)
    place = covers.Place(matrix, box)
    plain, plain_mask = warp(image, mask, matrix, SIDE)

    seeded = np.random.default_rng

    def crop(seed):
        return warp(image, mask, random_crop(mask, box, SIDE, seeded(seed)), SIDE, seeded(seed))

    looks = {
        "gamma, contrast": photometric.tone(plain, 0.6, 1.2, 0.05),
        "a tenth of the light": photometric.noise(photometric.darken(plain, 0.1), 4, seeded(0)),
        "shadow, line": photometric.cast_shadow(plain, seeded(1)),
        "shadow, spot": photometric.cast_shadow(plain, seeded(4)),
        "local contrast": photometric.local_contrast(plain, 4.0),
        "sharpened": photometric.sharpen(plain, 1.5),
        "white balance": photometric.white_balance(plain, (1.2, 1.0, 0.75)),
        "hue, saturation": photometric.shift_hue(plain, 6, 0.5),
        "grey": photometric.grey(plain),
        "out of focus": cv2.GaussianBlur(plain, (0, 0), 1.5),
        "motion": photometric.motion_blur(plain, 9, 30),
        "noise": photometric.noise(plain, 12, seeded(2)),
        "low resolution": photometric.lower_resolution(plain, 0.25),
        "JPEG 20": photometric.compress(plain, 20),
    }
    return {
        "crop of 1.8 boxes": (plain, plain_mask),
        **{f"random crop {seed}": crop(seed) for seed in (2, 3, 5)},
        **{name: (changed, plain_mask) for name, changed in looks.items()},
        **{f"glasses {n}": covers.draw_glasses(plain, plain_mask, place, seeded(n)) for n in (1, 2)},
        **{f"cloth {n}": covers.draw_cloth_mask(plain, plain_mask, place, other, seeded(n)) for n in (1, 4)},
        **{f"hand {n}": covers.draw_hand(plain, plain_mask, place, seeded(n)) for n in (0, 3)},
        **{f"thing {n}": covers.put_before(plain, plain_mask, place, other, seeded(n)) for n in (1, 5)},
        **{f"hair {n}": covers.draw_hair(plain, plain_mask, place, seeded(n)) for n in (0, 2)},
    }


def draw(name: str, image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return the picture with the mask's edge on it and its name below."""
    shown = image.copy()
    shown[mask == NOT_JUDGED] = shown[mask == NOT_JUDGED] // 2 + np.array([90, 0, 0], np.uint8)
    outlines, _ = cv2.findContours((mask == FACE).astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(shown, outlines, -1, (0, 255, 0), 1)
    label = np.full((16, shown.shape[1], 3), 255, np.uint8)
    cv2.putText(label, name, (3, 12), cv2.FONT_HERSHEY_SIMPLEX, 0.32, (0, 0, 0), 1, cv2.LINE_AA)
    return np.vstack([shown, label])


if __name__ == "__main__":
    run(main)
