"""How many faces are found, and what smoothing gains, measured on photos with known faces.

    python -m tools.measure --scenes DIR [--weights W]
    python -m tools.measure --data DIR [--weights W] [--clips 8]

Scenes: whole photographs in DIR/images, and DIR/faces.json with {NAME: {"size": [width, height], "faces":
[[x, y, width, height], ...], "maybe": [...]}}. A face is found if a quarter of its box is marked. Stray is
what is marked outside all boxes, those of `maybe` too, enlarged by 0.45 of their height above, 0.35 beside.

Data: the photos of the test part of DIR, which is what `evaluate.py --data` takes, move along the path of the
sample clip, with camera noise. For each strength of smoothing: IoU; dtSSD, the flicker measure of Erofeev et
al., "Perceptually Motivated Benchmark for Video Matting", BMVC 2015 (root mean square of the difference
between the mask's and the truth's change from frame to frame, times 100, less is better); and how many frames
the mask lags behind the truth.
"""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np

from dataset import open_dataset
from faces.detector import Detector
from faces.segmenter import Segmenter, Settings, segment_picture
from files.paths import regular_file
from files.pictures import read_image
from media.sample import path
from runtimes.choose import open_runtime
from runtimes.runtime import with_flip
from runtimes.weights import default_weights, trained_size
from utils import FACE, NOT_JUDGED, Parser, UserError, integer, run

SHRINK = 1.7  # the path's zoom is made for a portrait in which the face is smaller than in these photos
NOISE = 5.0  # grey levels, standard deviation of the camera's noise
STRENGTHS = (0.0, 0.5, 0.7, 0.85)
LENGTH = 60  # frames of a clip
BANDS = {"over 20%": 0.2, "10 to 20%": 0.1, "5 to 10%": 0.05, "under 5%": 0.0}  # of the longer side, at least
SPEED = 2  # steps of the path from one frame to the next: twice as fast as the sample


def score_scene(marked: np.ndarray, scene: dict) -> tuple[list[tuple[str, bool]], float]:
    """Return (band, whether it was found) of each face of a scene, and what part of the picture is stray.

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
        faces.append((band, marked[max(y, 0) : y + h, max(x, 0) : x + w].mean() >= 0.25))
    return faces, float(stray.mean())


def read_scenes(path: Path) -> dict:
    """Return {name of a photograph: scene}, with the (width, height) and the boxes, (x, y, width, height)."""
    try:
        scenes = json.loads(regular_file(path).read_text())
        for scene in scenes.values():
            for box in [[0, 0, *scene["size"]], *scene["faces"], *scene["maybe"]]:
                if [*map(integer(-100_000, 100_000), box)] != box or len(box) != 4:
                    raise ValueError(box)
        return scenes
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise UserError(f"{path} does not list the boxes of faces ({error})") from None


def print_scenes(runtime, size: int, folder: Path) -> None:
    """Print how many faces of whole photographs are found, and how much is stray."""
    detector, network = Detector(photo=True), with_flip(runtime)
    faces, strays = [], {}
    for name, scene in read_scenes(folder / "faces.json").items():
        picture = cv2.cvtColor(read_image(folder / "images" / name), cv2.COLOR_RGB2BGR)
        found, strays[name] = score_scene(
            segment_picture(network, detector, picture, size).probability > 127, scene
        )
        faces += found
    print(f"{'height of the face':<20} {'faces':>7} {'found':>7}   of them, %")
    for band in [*BANDS, "all"]:
        hits = [hit for name, hit in faces if band in (name, "all")]
        print(f"{band:<20} {len(hits):7} {sum(hits):7} {100 * np.mean(hits or [0]):12.1f}")
    mean, most = 100 * np.mean(list(strays.values())), max(strays, key=strays.get)
    print(f"stray: {mean:.4f} % of the pictures on average, {100 * strays[most]:.3f} % of {most}")


def iou(probability: np.ndarray, truth: np.ndarray) -> float:
    """Return the IoU of what is above one half. Both HxW uint8; truth: 0, 128 (not judged), 255."""
    found, wanted = (probability > 127) & (truth != NOT_JUDGED), truth == FACE
    return np.count_nonzero(found & wanted) / max(1, np.count_nonzero(found | wanted))


def make_clip(image: np.ndarray, mask: np.ndarray, speed: int, rng: np.random.Generator) -> tuple[list, list]:
    """Return frames of 640x480 in which the photo moves (with speed 0 it does not), and their masks."""
    side = SHRINK * min(image.shape[:2])
    ys, xs = np.nonzero(mask == FACE)
    face = (xs.mean() / side, ys.mean() / side)
    frames, truths = [], []
    for index in range(LENGTH):
        matrix = path(speed * index, side, face=face)
        frame = cv2.warpAffine(image, matrix, (640, 480), borderMode=cv2.BORDER_REPLICATE)
        noise = rng.normal(0, NOISE, frame.shape).astype(np.float32)
        frames.append(np.clip(frame + noise, 0, 255).astype(np.uint8))
        truths.append(cv2.warpAffine(mask, matrix, (640, 480), flags=cv2.INTER_NEAREST))
    return frames, truths


def flicker(masks: list[np.ndarray], truths: list[np.ndarray]) -> float:
    """Return dtSSD times 100. masks: HxW uint8 probabilities."""
    changes = []
    for index in range(1, len(masks)):
        judged = (truths[index] != NOT_JUDGED) & (truths[index - 1] != NOT_JUDGED)
        change = (masks[index].astype(np.float32) - masks[index - 1]) / 255
        wanted = (truths[index] == FACE).astype(np.float32) - (truths[index - 1] == FACE)
        changes.append(np.sqrt(np.mean((change - wanted)[judged] ** 2)))
    return 100 * float(np.mean(changes))


def lag(masks: list[np.ndarray], truths: list[np.ndarray]) -> float:
    """Return the delay of the truth, in frames, at which the masks fit it best: the top of a parabola."""
    delays = np.arange(-2, 4)
    fits = [
        np.mean([iou(masks[index], truths[index - delay]) for index in range(3, len(masks) - 2)])
        for delay in delays
    ]
    best = int(np.clip(np.argmax(fits), 1, len(fits) - 2))
    before, top, after = fits[best - 1 : best + 2]
    return float(delays[best] + 0.5 * (before - after) / (before - 2 * top + after))


def smoothing(runtime, size: int, photos: list, strength: float) -> list[float]:
    """Return mean IoU, dtSSD and lag of clips in which these photos move, and dtSSD where they do not."""

    def masks_of(frames: list[np.ndarray]) -> list[np.ndarray]:
        segmenter = Segmenter(runtime, Detector(), Settings(size), smooth=strength)
        return [segmenter(frame).probability for frame in frames]

    rng = np.random.default_rng(0)
    scores = []
    for image, mask in photos:
        frames, truths = make_clip(image, mask, SPEED, rng)
        masks = masks_of(frames)
        fit = np.mean([iou(found, truth) for found, truth in zip(masks, truths)])
        still, still_truths = make_clip(image, mask, 0, rng)
        still_flicker = flicker(masks_of(still), still_truths)
        scores.append([fit, flicker(masks, truths), lag(masks, truths), still_flicker])
    return np.mean(scores, axis=0).tolist()


def print_smoothing(runtime, size: int, pairs, count: int) -> None:
    """Print what smoothing does to clips of so many photos, spread over all of them."""
    chosen = np.linspace(0, len(pairs) - 1, min(count, len(pairs))).round().astype(int)
    loaded = [pairs[int(index)] for index in chosen]
    photos = [
        (cv2.cvtColor(image, cv2.COLOR_RGB2BGR), mask) for image, mask in loaded if (mask == FACE).any()
    ]
    if not photos:
        raise UserError("no face in any of the masks that were looked at: choose more with --clips")
    print(f"{'smoothing':<12} {'IoU, %':>9} {'dtSSD':>9} {'lag, frames':>12} {'dtSSD, still':>13}")
    for strength in STRENGTHS:
        fit, change, delay, still = smoothing(runtime, size, photos, strength)
        print(f"{strength:<12} {100 * fit:9.1f} {change:9.2f} {delay:12.2f} {still:13.2f}", flush=True)


def make_parser() -> Parser:
    parser = Parser("Measure how many faces are found, and what smoothing gains.")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--scenes", help="a folder of whole photographs and the boxes of their faces")
    what.add_argument("--data", help="as for evaluate.py")
    parser.add_argument("--weights", default=default_weights(), help="default: the repository's")
    parser.add_argument(
        "--clips", type=integer(1), default=8, help="for the smoothing (default: %(default)s)"
    )
    return parser


def main() -> None:
    args = make_parser().parse_args()
    pairs = open_dataset(args.data, "test") if args.data else None
    runtime, size = open_runtime(args.weights), trained_size(args.weights)
    print(f"{runtime.name}, {args.weights}\n")
    if pairs is None:
        print_scenes(runtime, size, Path(args.scenes))
    else:
        print_smoothing(runtime, size, pairs, args.clips)


if __name__ == "__main__":
    run(main)
