"""How well a mask fits: IoU, Dice, precision, recall and boundary IoU of images, and their summary.

`marked` is what the network takes for face, HxW bool; `mask` is the truth, HxW uint8 with 0 = background,
255 = face and 128 = not judged. What is marked in pixels of 128 changes no figure. All figures are in 0..1.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from utils import FACE, NOT_JUDGED

LIGHTNESS = {"L* 60-100": 60, "L* 45-60": 45, "L* 30-45": 30, "L* 0-30": 0}  # of a face, at least
HEIGHTS = {"192 px up": 192, " 96-192 px": 96, " 48-96 px": 48, "  0-48 px": 0}  # likewise
SHOWN = ("iou_mean", "iou_p10", "iou_all", "dice", "precision", "recall", "boundary_iou")  # in a table
BAND = 0.02  # width of the boundary's band, as a part of the image's diagonal


class Score(NamedTuple):
    """The figures of one image; `intersection` and `union` are in pixels."""

    iou: float
    dice: float
    precision: float
    recall: float
    boundary_iou: float
    intersection: int
    union: int


def score_mask(marked: np.ndarray, mask: np.ndarray) -> Score:
    """Return the figures of one image; arrays as above.

    Where there is no face and none was marked every figure is 1; where only one of both is empty, 0.
    Raises ValueError if the arrays are not of these kinds or differ in size.
    """
    if marked.shape != mask.shape or mask.ndim != 2 or marked.dtype != bool or mask.dtype != np.uint8:
        kinds = f"{marked.shape} {marked.dtype} and {mask.shape} {mask.dtype}"
        raise ValueError(f"marked must be HxW bool and mask HxW uint8 of one size; they are {kinds}")
    face, found = mask == FACE, marked & (mask != NOT_JUDGED)
    both, face_pixels, marked_pixels = map(np.count_nonzero, (face & found, face, found))
    union = face_pixels + marked_pixels - both
    if union == 0:
        return Score(1.0, 1.0, 1.0, 1.0, 1.0, 0, 0)
    return Score(
        iou=both / union,
        dice=2 * both / (face_pixels + marked_pixels),
        precision=both / max(marked_pixels, 1),
        recall=both / max(face_pixels, 1),
        boundary_iou=boundary_iou(marked, mask) if face_pixels and marked_pixels else 0.0,
        intersection=both,
        union=union,
    )


def boundary_iou(marked: np.ndarray, mask: np.ndarray) -> float:
    """Return the IoU of the two masks' bands along their edges, 0..1; arrays as in `score_mask`.

    After Cheng et al., "Boundary IoU: Improving Object-Centric Image Segmentation Evaluation", CVPR 2021: a
    mask's band is the mask minus its erosion by d = 2% of the image's diagonal, at least one pixel, with a
    square of side 2d + 1. What lies outside the image is background, as in the authors' program.

    Our rule for pixels of 128: a pixel is in a band only if a judged background pixel, or the outside of the
    image, is within d. A face pixel with pixels of 128 but no such pixel within d is not counted. Where no
    edge is judged at all, the figure is 1.
    """
    reach = max(round(BAND * float(np.hypot(*mask.shape))), 1)

    def near(region: np.ndarray, outside: int) -> np.ndarray:
        """Return the pixels within `reach` of a region, to which the outside of the image belongs or not."""
        square, border = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8), cv2.BORDER_CONSTANT
        return cv2.dilate(region.astype(np.uint8), square, borderType=border, borderValue=outside) > 0

    judged, face = mask != NOT_JUDGED, mask == FACE
    true_band = face & near(judged & ~face, outside=1)
    marked_band = marked & near(judged & ~marked, outside=1)
    unclear = face & ~true_band & near(~judged, outside=0)
    counted = judged & ~unclear
    union = np.count_nonzero((true_band | marked_band) & counted)
    return float(np.count_nonzero(true_band & marked_band & counted) / union) if union else 1.0


def summarise(scores: list) -> dict:
    """Return the means over a set of images, one at least, and two more figures.

    `iou_p10` is the 10th percentile of the images' IoU: nine in ten are better. `iou_all` is the IoU over
    the pixels of all images taken together.
    """
    columns = Score(*np.array(scores, float).T)
    intersection, union = columns.intersection.sum(), columns.union.sum()
    return {
        "images": len(scores),
        "iou_mean": float(columns.iou.mean()),
        "iou_p10": float(np.percentile(columns.iou, 10)),
        "iou_all": float(intersection / union) if union else 1.0,
        **{name: float(getattr(columns, name).mean()) for name in Score._fields[1:5]},
    }


def lightness(image: np.ndarray, mask: np.ndarray) -> str:
    """Return the band of LIGHTNESS of the face pixels' median L* (CIE 1976): of skin and lamp together.

    image: HWC uint8 RGB.
    """
    face = image[mask == FACE]
    if not len(face):
        return "no face"
    light = np.median(cv2.cvtColor(face[None].astype(np.float32) / 255, cv2.COLOR_RGB2LAB)[..., 0])
    return next(name for name, least in LIGHTNESS.items() if light >= least)


def face_height(mask: np.ndarray) -> str:
    """Return the band of HEIGHTS of all that is face in the mask, from its top to its bottom."""
    rows = np.flatnonzero((mask == FACE).any(axis=1))
    if not len(rows):
        return "no face"
    return next(name for name, least in HEIGHTS.items() if rows[-1] - rows[0] + 1 >= least)


def print_table(rows: list) -> None:
    """Print a line of percentages for each (name, summary)."""
    print(f"{'':<12} {'images':>7} " + " ".join(f"{key:>12}" for key in SHOWN))
    for name, summary in rows:
        figures = " ".join(f"{100 * summary[key]:12.2f}" for key in SHOWN)
        print(f"{name:<12} {summary['images']:7} {figures}")
