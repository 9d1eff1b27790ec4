"""Regions, HxW bool, from outlines and run lengths."""

from __future__ import annotations

import cv2
import numpy as np

from utils import UserError

MOST_PIXELS = 2 * 10**8


def fill(size: tuple[int, int], polygons: list) -> np.ndarray:
    """Return HxW bool of what polygons, x and y in pixels, enclose. size: (height, width)."""
    if not 0 < size[0] * size[1] < MOST_PIXELS:
        raise ValueError(f"a picture of {size[1]}x{size[0]}")
    region = np.zeros(size, np.uint8)
    for polygon in polygons:
        corners = np.clip(np.rint(np.array(polygon, float).reshape(-1, 2)), -MOST_PIXELS, MOST_PIXELS)
        if len(corners) < 3 or np.isnan(corners).any():
            raise ValueError(f"an outline of {len(corners)} corners, or not of numbers")
        cv2.fillPoly(region, [corners.astype(np.int32)], 1)
    return region.astype(bool)


def decode(lengths: dict, size: tuple[int, int]) -> np.ndarray:
    """Return HxW bool of COCO's run lengths."""
    try:
        from pycocotools import mask
    except ImportError:
        raise UserError("COCO's run lengths need .venv/bin/python -m pip install pycocotools") from None
    packed = mask.frPyObjects(lengths, *size) if isinstance(lengths["counts"], list) else lengths
    return mask.decode(packed).astype(bool)
