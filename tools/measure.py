"""Measure on photographs what infer.py gives, the detector included.

    python -m tools.measure --scenes DIR  # how many faces are marked, and how much else
    python -m tools.measure --data DIR --rotated [--limit 50]  # how well, with each picture turned

Scenes: whole photographs in DIR/images, and DIR/faces.json with {NAME: {"size": [width, height], "faces":
[[x, y, width, height], ...], "maybe": [...]}}. A face counts as recalled if a quarter of its box is marked.
Stray is what is marked outside all boxes, those of `maybe` too, enlarged by 0.45 of their height above and
0.35 at the other sides.

Data: the pictures of the test part of DIR, which is what `evaluate.py --data` takes; with --rotated each is
turned by 0 to 180 degrees. All of it stays visible; what is outside repeats its edge and is not judged.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from dataset import open_dataset
from faces.detector import Detector
from faces.metrics import score_mask
from faces.segmenter import segment_picture
from files.paths import regular_file
from files.pictures import read_image
from runtimes.choose import open_runtime
from runtimes.runtime import with_flip
from runtimes.weights import default_weights, trained_size
from utils import FACE, NOT_JUDGED, Parser, UserError, integer, run

BANDS = {"over 20%": 0.2, "10 to 20%": 0.1, "5 to 10%": 0.05, "under 5%": 0.0}  # of the longer side, at least
ANGLES = range(0, 181, 30)  # degrees, counterclockwise
MAX_SIDE = 100_000  # of a photograph and a box, in pixels


def print_scenes(segment: Callable, folder: Path) -> None:
    """Print how many faces of whole photographs are marked, and how much is stray."""
    faces, strays = [], {}
    for name, scene in tqdm(read_scenes(folder / "faces.json").items(), unit="image"):
        scored, strays[name] = score_scene(segment(read_image(folder / "images" / name)), scene)
        faces += scored
    print(f"{'height of the face':<20} {'faces':>7} {'marked':>7} {'recall, %':>10}")
    for band in [*BANDS, "all"]:
        hits = [hit for name, hit in faces if band in (name, "all")]
        print(f"{band:<20} {len(hits):7} {sum(hits):7} {100 * np.mean(hits or [0]):10.1f}")
    mean, most = 100 * np.mean(list(strays.values())), max(strays, key=strays.get)
    print(f"stray: {mean:.4f} % of the pictures on average, {100 * strays[most]:.3f} % of {most}")


def read_scenes(path: Path) -> dict:
    """Return {name of a photograph: scene} of a faces.json. Raises UserError for one that makes no sense."""
    try:
        scenes = json.loads(regular_file(path).read_text())
        for scene in scenes.values():
            for left, top, *size in ([0, 0, *scene["size"]], *scene["faces"], *scene["maybe"]):
                width, height = map(integer(1, MAX_SIDE), size)
                if [*map(integer(-MAX_SIDE, MAX_SIDE), (left, top)), width, height] != [left, top, *size]:
                    raise ValueError(f"{[left, top, *size]} are not whole numbers")
        if not any(scene["faces"] for scene in scenes.values()):
            raise ValueError("it has none")
        return scenes
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError, UserError) as error:
        raise UserError(f"{path} does not list the boxes of faces ({error})") from None


def score_scene(marked: np.ndarray, scene: dict) -> tuple[list[tuple[str, bool]], float]:
    """Return (band, whether it is recalled) of each face of a scene, and what share of the picture is stray.

    marked: HxW bool. scene: as in faces.json.
    """
    width, height = scene["size"]
    marked = cv2.resize(marked.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST) > 0
    stray = marked.copy()
    for x, y, w, h in scene["faces"] + scene["maybe"]:
        top, left = max(0, int(y - 0.45 * h)), max(0, int(x - 0.35 * w))
        stray[top : int(y + 1.35 * h) + 1, left : int(x + 1.35 * w) + 1] = False
    faces = []
    for x, y, w, h in scene["faces"]:
        band = next(band for band, least in BANDS.items() if h / max(width, height) >= least)
        inside = marked[max(y, 0) : max(y + h, 0), max(x, 0) : max(x + w, 0)]
        faces.append((band, np.count_nonzero(inside) >= 0.25 * max(inside.size, 1)))
    return faces, float(stray.mean())


def print_rotated(segment: Callable, data: str, angles: range, limit: int) -> None:
    """Print the mean IoU of the pictures at each angle."""
    pairs = open_dataset(data, "test")
    chosen = np.linspace(0, len(pairs) - 1, min(limit, len(pairs))).round().astype(int)
    ious = {angle: [] for angle in angles}
    for index in tqdm(chosen.tolist(), unit="image"):
        image, mask = pairs[index]
        for angle in angles if (mask == FACE).any() else ():
            turned, truth = rotate(image, mask, angle)
            ious[angle].append(score_mask(segment(turned), truth).iou)
    if not ious[0]:
        raise UserError(f"{data}: no mask of these {len(chosen)} pictures marks a face")
    print(f"{'turned by, degrees':<20} {'images':>7} {'IoU, %':>9}")
    for angle, each in ious.items():
        print(f"{angle:<20} {len(each):7} {100 * np.mean(each):9.2f}")


def rotate(image: np.ndarray, mask: np.ndarray, degrees: float) -> tuple[np.ndarray, np.ndarray]:
    """Return an image, HWC uint8, and its mask, HxW uint8, turned counterclockwise about their centre."""
    height, width = mask.shape
    cosine, sine = (abs(turn(math.radians(degrees))) for turn in (math.cos, math.sin))
    size = round(width * cosine + height * sine), round(width * sine + height * cosine)
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, 1)
    matrix[:, 2] += (size[0] - width) / 2, (size[1] - height) / 2
    truth = cv2.warpAffine(mask, matrix, size, flags=cv2.INTER_NEAREST, borderValue=NOT_JUDGED)
    return cv2.warpAffine(image, matrix, size, borderMode=cv2.BORDER_REPLICATE), truth


def make_parser() -> Parser:
    parser = Parser("Measure on photographs what infer.py gives, the detector included.")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--scenes", help="a folder of whole photographs and the boxes of their faces")
    what.add_argument("--data", help="pictures and masks, as for evaluate.py")
    add = parser.add_argument
    add("--rotated", action="store_true", help="turn each picture of --data by 0 to 180 degrees")
    add("--limit", type=integer(1), default=1_000_000, help="only so many pictures of --data, spread over it")
    add("--weights", default=default_weights(), help="default: the repository's")
    return parser


def main() -> None:
    parser = make_parser()
    args = parser.parse_args()
    if args.rotated and not args.data:
        parser.error("--rotated goes with --data")
    runtime, size = open_runtime(args.weights), trained_size(args.weights)
    network, detector = with_flip(runtime), Detector()
    print(f"{runtime.name}, {args.weights}\n")

    def segment(image: np.ndarray) -> np.ndarray:
        """Return what is marked as face in an image, HWC uint8 RGB: HxW bool."""
        picture = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
        return segment_picture(network, detector, picture, size).probability > 127

    if args.scenes:
        print_scenes(segment, Path(args.scenes))
    else:
        print_rotated(segment, args.data, ANGLES if args.rotated else range(1), args.limit)


if __name__ == "__main__":
    run(main)
