"""Reading a mask, in whichever way its labels are written.

from masks import read_mask
mask = read_mask("masks/NAME.png")  # HxW uint8: 0 = background, 255 = face, 128 = not judged
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from utils import FACE, NOT_JUDGED, open_picture


class DataError(ValueError):
    """Data that is missing or is not what it must be."""


def read_mask(path: Path) -> np.ndarray:
    """Read a mask file as HxW uint8 of 0, 128, 255.

    Grey, 1-bit, palette, RGB and RGBA files are understood. Colour files must show greys, and transparent
    pixels are background. A palette of greys is read by these, one of colours by its numbers.
    """
    try:
        with open_picture(path) as picture:
            picture.load()
            if picture.mode in ("1", "L", "I;16", "I"):
                values = np.array(picture.convert("L") if picture.mode == "1" else picture)
            else:
                red, green, blue, alpha = np.moveaxis(np.array(picture.convert("RGBA")), 2, 0)
                if (red == green).all() and (red == blue).all():
                    values = np.where(alpha >= 128, red, 0)
                elif picture.mode == "P":
                    values = np.array(picture)
                else:
                    raise DataError(f"{path}: a mask must be black, white or grey, and this one has colours")
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError, UnidentifiedImageError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path} is not a readable mask picture ({error})") from None
    return label_values(values, str(path))


def label_values(values: np.ndarray, where: str) -> np.ndarray:
    """Turn a mask's values, 0/1 or 0/255 and either with 128, into 0, 128, 255; DataError for any others."""
    found = np.unique(values)
    if np.isin(found, (0, 1, NOT_JUDGED)).all():
        return np.where(values == 1, FACE, values).astype(np.uint8)
    if np.isin(found, (0, NOT_JUDGED, FACE)).all():
        return values.astype(np.uint8)
    odd = [value for value in found.tolist() if value not in (0, NOT_JUDGED, FACE)]
    raise DataError(
        f"{where}: a mask must hold 0 and 255 (or 0 and 1), and 128 for not judged; this one holds {odd[:5]}"
        + (f" and {len(odd) - 5} more values" if len(odd) > 5 else "")
    )
