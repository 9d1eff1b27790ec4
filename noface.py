"""Pictures that show no face, as training pairs beside those with one.

    from noface import WithNoFace
    pairs = WithNoFace(open_dataset("faceseg_data", "train"), "landscapes")

Training pictures that all show a face teach that there always is one: then round and brown things are marked
where nobody is.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from dataset import DataError
from pictures import find_pictures
from utils import read_image


class WithNoFace:
    """The given pairs, and after them the pictures of a folder, each with a mask that is background alone.

    Items are (HWC uint8 RGB, HxW uint8), as in dataset.py. Raises DataError if the folder holds no pictures.
    """

    def __init__(self, pairs, folder: str | os.PathLike):
        if not Path(folder).is_dir():
            raise DataError(f"{folder}: no such folder; --no-face names one of pictures that show no face")
        try:
            self.paths = find_pictures(str(folder))
        except FileNotFoundError as error:
            raise DataError(f"{error}; --no-face names a folder of pictures that show no face") from None
        self.pairs = pairs
        self.names = [*pairs.names, *(path.stem for path in self.paths)]

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> tuple:
        if index < len(self.pairs):
            return self.pairs[index]
        image = read_image(self.paths[index - len(self.pairs)])
        return image, np.zeros(image.shape[:2], np.uint8)
