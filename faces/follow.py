"""Following the face: where in the next frame the network has to look.

    follow = Follow(long_side=256)
    for frame in frames:
        region, size = follow.next_region(frame.shape)
        faces = ...                                # that the network finds there, see faces.py
        follow.update(faces, region, frame.shape)

A small face in a large frame is a few pixels of the network's input. Once it is found, the network is given a
crop about it, so that the face fills half of the input whatever its size in the frame. All faces have to
fit into the crop; where it would be no closer than the whole frame, the whole frame is taken.
"""

from __future__ import annotations

from faces.mask import Region
from faces.parts import Face
from faces.regions import around, shift_inside, whole_frame
from utils import fit_size

CHECK_EVERY = 15  # frames between looks at the whole frame
MARGIN = 2.0  # the crop's sides, in those of the box about the faces
MOVE = 0.12  # the crop stays where it is until the face is off its centre by this part of its side ...
GROW = 1.25  # ... or larger or smaller by this factor: a crop that stands still gives a mask that does
GAIN = 0.85  # a crop is taken if it is smaller than this part of the whole frame


class Follow:
    """Remembers where the faces are. One for each stream of frames."""

    def __init__(self, long_side: int = 256):
        """long_side: of the network's input."""
        self.long_side = long_side
        self.check_every = CHECK_EVERY  # see Segmenter.check_whole_frame
        self.reset()

    def reset(self) -> None:
        """Forget the faces: the next region is the whole frame."""
        self.box: Region | None = None  # about all faces, in the frame's pixels
        self.crop = None  # (region, size), the last one taken
        self.since_check = 0

    def next_region(self, shape: tuple) -> tuple[Region, tuple[int, int]]:
        """Where to look in a frame of `shape` (height, width, ...), and the network's (height, width)."""
        whole = whole_frame(shape[0], shape[1], self.long_side)
        if self.box is None:
            return whole
        crop = crop_about(self.box, shape, self.long_side)
        if not is_closer(crop, whole):
            self.crop = None
            return whole
        if self.crop is None or self.crop[1] != crop[1] or not _near(self.crop[0], crop[0]):
            self.crop = crop
        return self.crop

    def is_due(self) -> bool:
        """Whether the whole frame should be looked at as well, for faces that came in outside the crop."""
        return self.box is not None and self.since_check >= self.check_every

    def update(self, faces: list[Face], region: Region, shape: tuple) -> None:
        """Learn which faces were found in the region."""
        self.box = _about([face.box for face in faces])
        is_whole = region.inside(shape[0], shape[1]) == (0, 0, shape[1], shape[0])
        self.since_check = 0 if is_whole else self.since_check + 1
        if self.box is None:
            self.crop = None

    def check(self, faces: list[Face]) -> None:
        """Learn from a look at the whole frame: faces outside the crop are added to those that are known."""
        self.since_check = 0
        if self.box is not None and self.crop is not None:
            new = [face.box for face in faces if not _holds(self.crop[0], face.box.centre)]
            self.box = _about([self.box, *new])


def crop_about(box: Region, shape: tuple, long_side: int) -> tuple[Region, tuple[int, int]]:
    """The crop about a box, and the network's (height, width) for it.

    Upright or lying, whichever shows the faces larger; both cost no more than a whole frame of 4:3.
    """
    sizes = (fit_size(4, 3, long_side), fit_size(3, 4, long_side))
    scale, size = max((min(size[0] / box.height, size[1] / box.width), size) for size in sizes)
    region = around(box.centre, MARGIN * size[1] / scale, MARGIN * size[0] / scale)
    return shift_inside(region, shape[0], shape[1]), size


def is_closer(crop: tuple[Region, tuple[int, int]], whole: tuple[Region, tuple[int, int]]) -> bool:
    """Whether a crop shows enough more than the whole frame to be worth it."""
    return whole[1][1] / whole[0].width < GAIN * crop[1][1] / crop[0].width


def _about(boxes: list[Region]) -> Region | None:
    if not boxes:
        return None
    result = boxes[0]
    for box in boxes[1:]:
        result = result.union(box)
    return result


def _holds(region: Region, point: tuple[float, float]) -> bool:
    return region.left <= point[0] < region.right and region.top <= point[1] < region.bottom


def _near(old: Region, new: Region) -> bool:
    """Whether a crop is so near to the wanted one that it may stay."""
    x_shift = abs(old.centre[0] - new.centre[0]) / new.width
    y_shift = abs(old.centre[1] - new.centre[1]) / new.height
    return max(x_shift, y_shift) < MOVE and 1 / GROW < old.width / new.width < GROW
