"""A contact sheet: for each case its picture, the true mask and the found one, with a line of text.

Images are HWC uint8 RGB; masks HxW uint8 (255 = face, 128 = not judged); found masks HxW bool.
"""

from __future__ import annotations

import cv2
import numpy as np

from utils import FACE, resize

TILE = 160  # side of the square that each picture is fitted into
CAPTION = 18  # height of the line of text
COLUMNS = 3  # cases beside each other


def contact_sheet(cases: list) -> np.ndarray:
    """Lay out (text, image, mask, found) cases, row by row, as one HWC uint8 RGB picture."""
    blocks = [draw_case(*case) for case in cases]
    blocks += [np.zeros_like(blocks[0])] * (-len(blocks) % COLUMNS)
    rows = [np.hstack(blocks[start : start + COLUMNS]) for start in range(0, len(blocks), COLUMNS)]
    return np.vstack(rows)


def draw_case(text: str, image: np.ndarray, mask: np.ndarray, found: np.ndarray) -> np.ndarray:
    block = np.zeros((TILE + CAPTION, 3 * TILE + 8, 3), np.uint8)
    cv2.putText(block, text, (2, 13), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (255, 255, 255), 1, cv2.LINE_AA)
    planes = (image, np.dstack([mask] * 3), np.dstack([np.where(found, FACE, 0).astype(np.uint8)] * 3))
    for place, plane in enumerate(planes):
        scale = TILE / max(plane.shape[:2])
        height, width = (max(round(side * scale), 1) for side in plane.shape[:2])
        left = place * TILE
        block[CAPTION : CAPTION + height, left : left + width] = resize(plane, (height, width))
    return block
