"""Measure how well a LinkNet34 marks faces.

    python evaluate.py  # weights/linknet34.safetensors on faceseg_data, beside the published results
    python evaluate.py --weights runs/train/best.safetensors --data my_faces --split test --json test.json
    python evaluate.py --data my_faces --groups --worst 30 --worst-picture worst.png
    python evaluate.py --data my_faces --groups lightness  # dark and light faces apart; or size
    python evaluate.py --as-infer  # what a user of infer.py gets, the detector included
    python evaluate.py --no-face landscapes  # pictures without a face: how much is marked all the same

The headline is the mean over the images of the IoU of logits above 0 (probability above 0.5), in evaluation
mode, at the masks' own size; pixels of 128 are not judged. faces/metrics.py defines every figure: percentages
in the table, 0..1 in the JSON file, which is {"train": {...}, "test": {...}} where both were evaluated.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from tqdm import tqdm

from dataset import find_parts, group_of, open_dataset
from faces.detector import Detector
from faces.metrics import face_height, lightness, print_table, score_mask, summarise
from faces.segmenter import segment_picture
from files.paths import refuse_inputs, write_json
from files.pictures import WRITTEN, picture_files, read_image, write_image
from media.window import draw_lines
from runtimes.choose import add_network_options, open_runtime
from runtimes.runtime import image_logits, with_flip
from runtimes.weights import runtime_files, trained_size
from utils import FACE, NOT_JUDGED, Parser, UserError, integer, log, real, resize, run

SETTINGS = ("threshold", "size", "weights", "flip", "as_infer", "limit", "mask_threshold")  # in the JSON too
TILE, CAPTION, COLUMNS = 160, 18, 3  # of --worst-picture: a picture's and a line's height; cases in a row
# The published program left the network in training mode, with each batch's own statistics.
PUBLISHED = """published mean IoU, measured by their authors on their own data:
OneFlow: train 95.006, test 94.425; PyTorch: train 92.815, test 92.689"""


def make_parser() -> Parser:
    parser = Parser("Measure how well a LinkNet34 marks faces.")
    add = parser.add_argument
    add_network_options(parser, precision="f32")
    parser.set_defaults(precision=None)  # so that --as-infer sees whether one was named
    add("--data", default="faceseg_data", help="a data folder, as for train.py (default: %(default)s)")
    add("--split", choices=("train", "test"), help="only this one (default: every one that is there)")
    add("--json", metavar="FILE", help="write the figures to this file too")
    what = "also a row for each start of the names up to the first _, or for the faces' lightness or height"
    add("--groups", nargs="?", const="names", choices=("names", "lightness", "size"), help=what)
    what = "draw the N images of the lowest IoU"
    add("--worst", type=integer(0, 10_000), default=0, metavar="N", help=what)
    what = "where --worst draws (default: %(default)s)"
    add("--worst-picture", default="output/worst.png", metavar="FILE", help=what)
    add("--no-face", metavar="DIR", help="instead of --data: a folder of pictures that show no face")
    what = "face is above this probability (default: %(default)s)"
    add("--threshold", type=real(0.001, 0.999), default=0.5, help=what)
    add("--flip", action="store_true", help="average the odds of each image and of its mirror image")
    what = "detect the faces and segment each, also in the mirror, as infer.py does; --precision auto"
    add("--as-infer", action="store_true", help=what)
    add("--limit", type=integer(1), metavar="N", help="only N images of each split, evenly spread over it")
    add("--mask-threshold", type=integer(1, 255), help="mask values from here on are face (for JPEG masks)")
    add("--skip-bad", action="store_true", help="leave out unreadable images and odd masks, and count them")
    return parser


def main() -> None:
    parser = make_parser()
    args = parser.parse_args()
    args.precision = args.precision or ("auto" if args.as_infer else "f32")
    for name in ("split", "groups", "worst", "limit"):
        if args.no_face and getattr(args, name):
            parser.error(f"--no-face goes without --{name}")
    args.size = args.size or trained_size(args.weights)
    if Path(args.worst_picture).suffix.lower() not in WRITTEN:
        parser.error(f"--worst-picture {args.worst_picture}: it must end in one of {', '.join(WRITTEN)}")
    if args.no_face:
        evaluate_no_face(args)
    else:
        evaluate(args)


def evaluate(args: argparse.Namespace) -> None:
    """Evaluate the splits that were asked for, print the tables, and write the files."""
    splits = open_splits(args)
    refuse_inputs(
        [args.json, args.worst_picture if args.worst else None],
        [*runtime_files(args.weights), *(file for pairs in splits.values() for file in pairs.files)],
    )
    segment, network = open_segment(args)
    settings = {key: getattr(args, key) for key in ("data", *SETTINGS)}
    scores, summaries, rows = {}, {}, []
    for name, pairs in splits.items():
        started = time.monotonic()
        scores[name] = score_pairs(segment, pairs, args, name)
        summaries[name] = {**summarise([*scores[name].values()]), **settings, "network": network}
        summaries[name]["seconds"] = round(time.monotonic() - started, 3)
        rows.append((name, summaries[name]))
        if args.groups:
            rows += summarise_groups(pairs, scores[name], args.groups)
    print_table(rows)
    if summaries.keys() == {"train", "test"}:
        print(f"\n{PUBLISHED}")
    if args.json:
        write_json(args.json, summaries if len(summaries) > 1 else next(iter(summaries.values())))
    if args.worst:
        write_worst(segment, splits, scores, args)


def evaluate_no_face(args: argparse.Namespace) -> None:
    """Measure what is marked in pictures that show no face; print it and write the JSON file."""
    paths = picture_files(args.no_face)
    refuse_inputs([args.json], [*runtime_files(args.weights), *paths])
    segment, network = open_segment(args)
    shares = {}
    for path in tqdm(paths, desc="no face", unit="image"):
        with skipped(args.skip_bad):
            shares[path] = float(segment(read_image(path)).mean())
    if not shares:
        raise UserError(f"{args.no_face} holds no readable picture")
    if len(shares) < len(paths):
        log.info(f"{len(paths) - len(shares)} bad pictures left out")
    worst, mean = max(shares, key=shares.get), sum(shares.values()) / len(shares)
    print(f"marked without a face: {100 * mean:.3f} % of the pixels on average over {len(shares)} pictures")
    print(f"most in {worst}: {100 * shares[worst]:.3f} %")
    if args.json:
        figures = {"images": len(shares), "marked_mean": mean, "marked_worst": shares[worst]}
        settings = {key: getattr(args, key) for key in ("no_face", *SETTINGS)}
        write_json(args.json, {**figures, **settings, "network": network})


def open_splits(args: argparse.Namespace) -> dict:
    """Open {name: pairs} of the split that was asked for, or of every one that there is."""
    there = [name for name in find_parts(args.data) if name != "all"]
    names = [args.split] if args.split else there or ["all"]
    if names == ["all"]:
        log.info("all: some of these pictures may have been trained on; the folders train/ and test/ tell")
    return {name: open_dataset(args.data, name, args.skip_bad, args.mask_threshold) for name in names}


def open_segment(args: argparse.Namespace) -> tuple[Callable[[np.ndarray], np.ndarray], str]:
    """Return a function from an image, HWC uint8 RGB, to what is face, HxW bool, and the runtime's name."""
    runtime = open_runtime(args.weights, args.runtime, args.device, args.precision)
    log.info(f"{args.weights}: {runtime.name}, longest side {args.size}")
    network = with_flip(runtime) if args.flip or args.as_infer else runtime
    if not args.as_infer:
        level = math.log(args.threshold / (1 - args.threshold))
        return lambda image: image_logits(network, image, args.size) > level, runtime.name
    detector = Detector()

    def segment_as_infer(image: np.ndarray) -> np.ndarray:
        picture = np.ascontiguousarray(image[..., ::-1])  # BGR
        return segment_picture(network, detector, picture, args.size).probability > args.threshold * 255

    return segment_as_infer, runtime.name


def score_pairs(segment: Callable, pairs, args: argparse.Namespace, name: str) -> dict:
    """Score the images of a split: {index: Score}. Raises UserError for a bad one."""
    count = min(args.limit or len(pairs), len(pairs))
    scores, unjudged = {}, 0
    for index in tqdm((np.arange(count) * len(pairs) // count).tolist(), desc=name, unit="image"):
        with skipped(args.skip_bad):
            image, mask = pairs[index]
            if (mask == NOT_JUDGED).all():  # there is nothing to be right or wrong about
                unjudged += 1
            else:
                scores[index] = score_mask(segment(image), mask)
    bad = count - len(scores) - unjudged
    for number, what in ((bad, "bad pairs"), (unjudged, "images of whose mask no pixel is judged")):
        if number:
            log.info(f"{name}: {number} {what} left out")
    if not scores:
        raise UserError(f"{args.data}, {name}: there is no readable image with a mask to judge it by")
    return scores


def summarise_groups(pairs, scores: dict, kind: str) -> list:
    """Return (name of the row, summary) of each group. Names without an underscore are one, "others"."""
    groups = {}
    for index, score in scores.items():
        if kind == "names":
            group = group_of(pairs.names[index]) or "others"
        else:
            image, mask = pairs[index]
            group = lightness(image, mask) if kind == "lightness" else face_height(mask)
        groups.setdefault(group, []).append(score)
    return [(f"  {group}", summarise(groups[group])) for group in sorted(groups)]


@contextlib.contextmanager
def skipped(skip: bool) -> Iterator[None]:
    """Name what is bad and go on, or raise it."""
    try:
        yield
    except UserError as error:
        if not skip:
            raise
        log.info(f"left out: {error}")


def write_worst(segment: Callable, splits: dict, scores: dict, args: argparse.Namespace) -> None:
    """Draw the images of the lowest IoU, worst first: picture, true mask, marked pixels."""
    ranking = sorted((score.iou, name, index) for name in scores for index, score in scores[name].items())
    blocks = []
    for iou, name, index in ranking[: args.worst]:
        image, mask = splits[name][index]
        marked = np.where(segment(image), FACE, 0).astype(np.uint8)
        title = f"IoU {100 * iou:.1f}  {name}/{splits[name].names[index]}"
        blocks.append(draw_case(title, image, mask, marked))
    blocks += [np.zeros_like(blocks[0])] * (-len(blocks) % COLUMNS)
    rows = [np.hstack(blocks[start : start + COLUMNS]) for start in range(0, len(blocks), COLUMNS)]
    write_image(args.worst_picture, np.vstack(rows))
    print(f"\n{args.worst_picture}: the {len(ranking[: args.worst])} images of the lowest IoU")


def draw_case(text: str, image: np.ndarray, *masks: np.ndarray) -> np.ndarray:
    """Return an image, HWC uint8 RGB, and its masks, HxW uint8, side by side under the text."""
    block = np.zeros((TILE + CAPTION, 3 * TILE + 8, 3), np.uint8)
    draw_lines(block, [text])
    scale = TILE / max(image.shape[:2])
    height, width = (max(round(side * scale), 1) for side in image.shape[:2])
    for place, plane in enumerate((image, *(np.dstack([mask] * 3) for mask in masks))):
        left = place * TILE
        block[CAPTION : CAPTION + height, left : left + width] = resize(plane, (height, width))
    return block


if __name__ == "__main__":
    run(main)
