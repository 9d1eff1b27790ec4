"""Face segmentation for other Python programs.

    import sys; sys.path.append("/path/to/this/folder")
    from faceseg import FaceSegmenter

    probability = FaceSegmenter().segment(image)    # HxWx3 uint8 RGB -> HxW float32, 0..1

The program that imports this may have modules of our names, such as `utils`. So ours are loaded here as parts
of a package `_faceseg` that is in no folder.
"""

# ruff: noqa: E402 (ours can be imported once there is a Finder)
from __future__ import annotations

import builtins
import sys
from collections.abc import Iterator
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import cv2
import numpy as np

OURS = ("utils", "files", "resnet", "linknet", "dataset", "runtimes", "faces", "media")


class Loader(SourceFileLoader):
    """Loads one of our modules so that its imports of others of ours lead into the package."""

    def exec_module(self, module: ModuleType) -> None:
        module.__builtins__ = {**vars(builtins), "__import__": import_for_ours}
        super().exec_module(module)


class Finder:
    @staticmethod
    def find_spec(name: str, path: list | None, target: object = None) -> ModuleSpec | None:
        spec = PathFinder.find_spec(name, path) if name.startswith("_faceseg.") else None
        if spec is not None:
            spec.loader = Loader(spec.name, spec.origin)
        return spec


def import_for_ours(name: str, globals=None, locals=None, fromlist=(), level: int = 0) -> ModuleType:
    """Do what an import statement in one of our modules asks for."""
    ours = name.partition(".")[0] in OURS
    return builtins.__import__(f"_faceseg.{name}" if ours else name, globals, locals, fromlist, level)


sys.modules["_faceseg"] = ModuleType("_faceseg")
sys.modules["_faceseg"].__path__ = [str(Path(__file__).resolve().parent)]
sys.meta_path.insert(0, Finder)

from _faceseg.faces.mask import Face, Region
from _faceseg.media.options import Options
from _faceseg.media.run import Worker, open_network
from _faceseg.media.sources import open_video
from _faceseg.utils import UserError, real, side

for each in (Face, Region, UserError):
    each.__module__ = __name__  # where another process finds it, which has not imported this one
del each


class VideoFrame(NamedTuple):
    """One frame of a video, and what is on it."""

    image: np.ndarray  # HxWx3 uint8 RGB
    time: float  # seconds of the video
    faces: tuple[Face, ...]  # of the same face the `track` is the same in all frames
    probability: np.ndarray  # of face, HxW float32, 0..1


class FaceSegmenter:
    """Segments faces. The network is loaded once. Not for use by several threads at once."""

    def __init__(
        self,
        weights: str | Path | None = None,
        size: int | None = None,
        runtime: str = "auto",
        device: str = "auto",
        precision: str = "auto",
        detect: bool = True,
        small_faces: bool = False,
        flip: bool = True,
        smooth: float = 0.7,
    ):
        """weights: a safetensors file; default: the repository's. size: the longest side of the network's
        input, a multiple of 32; default: as it was trained. runtime, device, precision: see `open_runtime`.
        detect: with False the network is given the whole image, as one face. small_faces: look for faces in
        all parts of an image of more than 1,280 pixels. flip: segment the mirror image of an image as well,
        and take the mean: a little better, in twice the time. smooth: of videos over time, 0 (off) to 0.99.

        Raises UserError for weights and choices that cannot be used.
        """
        size = None if size is None else side(size)
        try:
            smooth = real(0, 0.99)(smooth)
        except UserError as error:
            raise UserError(f"smooth: {error}") from None
        how = {"size": size, "runtime": runtime, "device": device, "precision": precision, "detect": detect}
        how |= {} if weights is None else {"weights": str(weights)}
        options = Options(**how, small_faces=small_faces, flip=flip, smooth=smooth)
        self.worker = Worker(options, open_network(options))

    def segment(self, image: np.ndarray) -> np.ndarray:
        """Return the probability of face for each pixel, HxW float32, 0..1, in steps of 1/255.

        image: HxWx3 uint8 RGB; ValueError for another array.
        """
        return self._mask(image).probability / np.float32(255)

    def faces(self, image: np.ndarray) -> list[Face]:
        """Return the faces of an image, HxWx3 uint8 RGB, the surest first; ValueError for another array.

        Each has its `track`, its place in this order from 1 on, 0 where only the network sees it; its `box`
        and the `region` of its mask, (left, top, right, bottom) in pixels of the image, right and bottom
        outside; its `confidence`, 0..1, 0 where only the network sees it; and its `mask`, the probability,
        hxw uint8 of the region, 0..255, empty where the detector sees a face and the network none.
        """
        return list(self._mask(image).faces)

    def video(self, path: str | Path) -> Iterator[VideoFrame]:
        """Yield every frame of a video file, in order; of a camera's number or an address, what comes.

        Raises UserError where there is no video, or it ends early.
        """
        source = open_video(str(path))
        try:
            segmenter = self.worker.segmenter(source)
            for frame, mask in segmenter.segment(segmenter.follow(iter(source.read, None))):
                image = cv2.cvtColor(frame.image, cv2.COLOR_BGR2RGB)
                yield VideoFrame(image, frame.at, mask.faces, mask.probability / np.float32(255))
        finally:
            source.close()

    def _mask(self, image: np.ndarray):
        if getattr(image, "ndim", 0) != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
            what = f"{image.shape} {image.dtype}" if isinstance(image, np.ndarray) else type(image).__name__
            raise ValueError(f"an image must be HxWx3 uint8 RGB; this one is {what}")
        return self.worker.mask(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
