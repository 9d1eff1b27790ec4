"""Turn the export of a labelling tool into pictures and masks to train on.

    python -m tools.masks export/ my_faces  # the label named face
    python -m tools.masks export/ my_faces --face 250,50,83  # a colour of the masks, or a number: --face 1
    python -m tools.masks CelebAMask-HQ/ my_faces  # skin, brows, eyes, nose, lips, mouth and glasses

It reads masks of colours, palettes or numbers (CVAT, VOC), COCO, labelme's JSON, Label Studio's PNG with its
JSON, CelebAMask-HQ's parts, and YOLO's outlines. TARGET gets images/, masks/ and overlays.jpg, ten of them to
look at. VOC's 255 becomes 128, not judged. Pictures without a mask of a face are named and left out.
"""

from __future__ import annotations

import argparse
import shutil
from collections import Counter
from pathlib import Path

import cv2
import numpy as np

from dataset import PairFolder
from files.labels import CROWD, IGNORED, VOID, Labelled, Source, read_labels
from files.masks import fit_mask
from files.paths import atomic_path
from files.pictures import read_image, write_image
from utils import FACE, NOT_JUDGED, Parser, UserError, resize, run

# Names of labels, in small letters; all but the first are CelebAMask-HQ's.
FACES = ("face", "skin", "l_brow", "r_brow", "l_eye", "r_eye", "eye_g", "nose", "mouth", "u_lip", "l_lip")
COVERS = ("hair", "hat", "cloth", "neck", "neck_l", "ear_r")  # its skin continues below these
OVERLAYS, TILE = 10, 320  # pictures of the sheet, and their longest side in pixels


def make_parser() -> Parser:
    parser = Parser(__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("export", metavar="SOURCE", help="folder of the export")
    add("target", metavar="TARGET", help="folder to make")
    label = "name, R,G,B or number of a label that is {}; may be repeated (default: {})"
    add("--face", action="append", metavar="LABEL", help=label.format("face", ", ".join(FACES)))
    covers = label.format("taken out of the face", ", ".join(COVERS) + " where there is skin")
    add("--cover", action="append", metavar="LABEL", help=covers)
    add("--pictures", type=Path, metavar="DIR", help="their folder (default: SOURCE/images, or SOURCE)")
    return parser


def main() -> int:
    args = make_parser().parse_args()
    target = Path(args.target)
    if target.exists():
        raise UserError(f"{target} exists: choose another TARGET, or remove it")
    faces = {label.lower() for label in args.face or FACES}
    covers = {label.lower() for label in args.cover or ()}
    areas, left_out = Counter(), []
    with atomic_path(target, folder=True) as folder:
        for name in ("images", "masks"):
            (folder / name).mkdir()
        for labelled in read_labels(Source(Path(args.export), args.pictures)):
            areas.update({label: int(region.sum()) for label, region in labelled.regions.items()})
            has_skin = any("skin" in names_of(label) & faces for label in labelled.regions)
            taken_out = {*covers, *(COVERS if has_skin else ())}
            for label, kind in labelled.others.items():
                if names_of(label) & {*faces, *taken_out, IGNORED}:
                    raise UserError(f"{labelled.picture}: its {label} is a {kind}: outline it with a polygon")
            mask = face_mask(labelled, faces, taken_out)
            if mask is None:
                left_out.append(labelled.picture.name)
                continue
            path = folder / "masks" / f"{labelled.picture.stem}.png"
            if path.exists():
                raise UserError(f"{labelled.picture} is labelled twice in {args.export}; leave one of them")
            shutil.copyfile(labelled.picture, folder / "images" / labelled.picture.name)
            write_image(path, mask)
        taken = [label for label in areas if names_of(label) & faces]
        if not taken:
            missing = " or ".join(args.face or ["face"])
            raise UserError(f"no label is named {missing}; name it with --face: {listed(areas)}")
        if not any((folder / "masks").iterdir()):
            reasons = "its labels are boxes, or covers lie over all of it"
            raise UserError(f"{args.export}: no picture has any {', '.join(taken)} left: {reasons}")
        pairs = PairFolder(folder)
        write_image(folder / "overlays.jpg", draw_sheet(pairs))
    print(f"taken for face: {', '.join(taken)}\nall labels: {listed(areas)}")
    if left_out:
        shown = ", ".join(left_out[:10]) + ", ..." * (len(left_out) > 10)
        print(f"{len(left_out)} pictures without a mask of a face were left out: {shown}")
    print(f"{target}: {len(pairs)} pictures and masks; {target / 'overlays.jpg'} shows them")
    return 0


def face_mask(labelled: Labelled, faces: set, covers: set) -> np.ndarray | None:
    """Return HxW uint8 of 0, 128, 255 in the picture's size; None where no label is face."""
    mask = np.uint8(0)
    for labels, value in (({CROWD}, NOT_JUDGED), (faces, FACE), ({VOID}, NOT_JUDGED), (covers, 0)):
        for label, region in labelled.regions.items():
            if names_of(label) & labels:
                mask = np.where(region, np.uint8(value), mask)
    if not (mask == FACE).any():
        return None
    return fit_mask(mask, labelled.picture, read_image(labelled.picture).shape[:2])


def names_of(label: str) -> set:
    return set(label.lower().split("="))


def listed(areas: Counter) -> str:
    """Return the labels, those of the largest area first, with their shares."""
    total = max(areas.total(), 1)
    shares = [f"{label} ({100 * area / total:.1f}%)" for label, area in areas.most_common(20)]
    return ", ".join(shares) or "none was found"


def draw_sheet(pairs: PairFolder) -> np.ndarray:
    """Return some pictures with the outline of their face in green, of what is not judged in yellow: RGB."""
    tiles = []
    for index in np.linspace(0, len(pairs) - 1, min(len(pairs), OVERLAYS)).astype(int).tolist():
        image, mask = pairs[index]
        size = tuple(max(1, round(side * TILE / max(mask.shape))) for side in mask.shape)
        image, mask = resize(image, size), cv2.resize(mask, size[::-1], interpolation=cv2.INTER_NEAREST)
        for value, colour in ((NOT_JUDGED, (255, 220, 0)), (FACE, (0, 255, 0))):
            region = (mask == value).astype(np.uint8)
            outlines, _ = cv2.findContours(region, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
            cv2.drawContours(image, outlines, -1, colour, 2)
        tiles.append(cv2.copyMakeBorder(image, 0, TILE - size[0], 0, TILE - size[1], cv2.BORDER_CONSTANT))
    tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % 5 if len(tiles) > 5 else 0)
    return np.vstack([np.hstack(tiles[start : start + 5]) for start in range(0, len(tiles), 5)])


if __name__ == "__main__":
    run(main)
