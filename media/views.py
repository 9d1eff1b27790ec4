"""What is shown of a frame and its mask.

    view = parse_view("overlay", color=(0, 255, 0))
    picture = view(frame, mask, threshold=0.5)

Every view takes a frame (HWC uint8 BGR, which it may change and return) and its mask, and gives HWC uint8
BGR; `cutout` gives BGRA, `mask` HxW. Only the part of the frame where the mask is gets touched.
"""

from __future__ import annotations

from typing import Callable

import cv2
import numpy as np
from PIL import ImageColor

from faces.mask import Mask, Region
from files.pictures import read_image
from utils import UserError

EDGE = 0.1  # of probability, to either side of the threshold: the width of the soft edge
SEEN = 0.25  # of a found face's box, that the mask must cover to be trusted to hide it
HIDING = ("blur-face", "mosaic-face", "fill-face")  # who a face belongs to cannot be seen
VIEWS = ("overlay", "cutout", "mask", *HIDING, "blur-background", "side-by-side")  # v steps through these
BLOCKS = 30  # what is left of a hidden face at a strength of 1: so many blocks across
STRENGTH = 5


def hides(view: str) -> bool:
    """Whether a view is there to hide who a face belongs to."""
    return view.partition(":")[0] in HIDING


View = Callable[[np.ndarray, Mask, float], np.ndarray]


def parse_view(
    name: str, color: tuple[int, int, int] = (0, 200, 120), alpha: float = 0.5, strength: int = STRENGTH
) -> View:
    """The view of that name. color: RGB, alpha: 0..1, both of the overlay. strength: of hiding, 1..10.

    `fill-face:COLOUR` takes a colour, `background:WHAT` a picture file or a colour. Raises UserError for an
    unknown name or a broken background picture.
    """
    if not 0 <= alpha <= 1:
        raise UserError(f"the overlay's alpha is {alpha}; it must be from 0 to 1")
    if name.startswith("background:"):
        return Background(name.split(":", 1)[1])
    if name.startswith("fill-face:"):
        return HideFace(strength, color=parse_color(name.split(":", 1)[1]))
    tint = Overlay(color, alpha)
    views = {
        "overlay": tint,
        "cutout": cutout,
        "mask": mask_only,
        "blur-face": HideFace(strength),
        "mosaic-face": HideFace(strength, cv2.INTER_NEAREST),
        "fill-face": HideFace(strength, color=(0, 0, 0)),
        "blur-background": blur_background,
        "side-by-side": lambda frame, mask, threshold: np.hstack(
            [frame, tint(frame.copy(), mask, threshold)]
        ),
    }
    if name not in views:
        raise UserError(
            f"there is no view '{name}'; choose from {', '.join(VIEWS)}, fill-face:COLOUR, "
            "background:PICTURE-or-COLOUR"
        )
    return views[name]


def parse_color(text: str) -> tuple[int, int, int]:
    """'#00c878', 'red' or '0,200,120' as RGB. Raises UserError for anything else."""
    try:
        color = ImageColor.getrgb(f"rgb({text})" if "," in text and "(" not in text else text)[:3]
    except ValueError:
        color = (-1,)
    if not all(0 <= value <= 255 for value in color):
        raise UserError(f"'{text}' is no colour: write a name, #RRGGBB or R,G,B")
    return color


def coverage(mask: Mask, threshold: float) -> np.ndarray:
    """How much of each pixel of the mask's region is face, hxw uint8: 0 or 255 but for a soft edge."""
    left, top, right, bottom = mask.region
    levels = np.arange(256, dtype=np.float32) / 255
    edge = min(EDGE, threshold, 1 - threshold)  # what is certain stays so
    table = np.clip((levels - threshold) / (2 * edge) + 0.5, 0, 1)
    return cv2.LUT(mask.probability[top:bottom, left:right], (table * 255 + 0.5).astype(np.uint8))


def blend(below: np.ndarray, above: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """below + (above - below) * weight / 255, for HWC uint8 images and an HxW uint8 weight."""
    weight = cv2.cvtColor(weight, cv2.COLOR_GRAY2BGR)
    above = cv2.multiply(above, weight, scale=1 / 255)
    below = cv2.multiply(below, cv2.bitwise_not(weight), scale=1 / 255)
    return cv2.add(below, above)


def part(frame: np.ndarray, mask: Mask) -> np.ndarray:
    """The part of the frame where the mask is, as a view of it."""
    left, top, right, bottom = mask.region
    return frame[top:bottom, left:right]


class Overlay:
    """The mask in a colour over the face."""

    def __init__(self, color: tuple[int, int, int], alpha: float):
        """color: RGB."""
        self.bgr = color[::-1]
        self.alpha = alpha

    def __call__(self, frame: np.ndarray, mask: Mask, threshold: float) -> np.ndarray:
        face = part(frame, mask)
        if face.size:
            weight = cv2.convertScaleAbs(coverage(mask, threshold), alpha=self.alpha)
            face[:] = blend(face, np.full_like(face, self.bgr), weight)
        return frame


def cutout(frame: np.ndarray, mask: Mask, threshold: float) -> np.ndarray:
    """BGRA: the face alone, transparent elsewhere."""
    picture = np.zeros((*frame.shape[:2], 4), np.uint8)
    left, top, right, bottom = mask.region
    if mask.region.width:
        alpha = coverage(mask, threshold)
        face = cv2.merge([part(frame, mask), alpha])
        face[alpha == 0] = 0  # what is transparent must not be recoverable
        picture[top:bottom, left:right] = face
    return picture


def mask_only(frame: np.ndarray, mask: Mask, threshold: float) -> np.ndarray:
    """HxW: 255 is face, 0 is not."""
    return cv2.threshold(mask.probability, int(threshold * 255), 255, cv2.THRESH_BINARY)[1]


class HideFace:
    """Every face made unrecognisable: soft blocks, hard blocks, or one colour.

    The mask is widened, to be on the safe side, and where the network sees less than a quarter of a face that
    the finder found, all of its box is hidden, as an ellipse. Blocks can be undone in part; a colour cannot.
    """

    def __init__(self, strength: int, edges: int = cv2.INTER_LINEAR, color: tuple | None = None):
        """strength: 1..10, how little the blocks leave. edges: between them, of cv2.resize. color: RGB."""
        self.blocks, self.edges, self.color = max(1, round(BLOCKS / strength)), edges, color

    def __call__(self, frame: np.ndarray, mask: Mask, threshold: float) -> np.ndarray:
        probability, regions = mask.probability, [face.region for face in mask.faces] or [mask.region]
        for index, face in enumerate(mask.faces):
            width, height = face.box.width, face.box.height
            if face.area(threshold) < SEEN * width * height:  # found, but the network sees too little of it
                probability = probability.copy() if probability is mask.probability else probability
                centre = tuple(round(place) for place in face.box.centre)
                cv2.ellipse(probability, centre, (width // 2, height // 2), 0, 0, 360, 255, -1)
                regions[index] = face.region.union(face.box) if face.region.width else face.box
        for region in regions:
            if region.width:
                self._hide(frame, Mask(probability, region), threshold)
        return frame

    def _hide(self, frame: np.ndarray, mask: Mask, threshold: float) -> None:
        height, width = frame.shape[:2]
        reach = max(2, max(mask.region.width, mask.region.height) // 16)
        left, top, right, bottom = mask.region
        region = Region(left - reach, top - reach, right + reach, bottom + reach).inside(height, width)
        wider = Mask(mask.probability, region)
        weight = coverage(wider, threshold)
        # Widened at a quarter of the size, where a reach of 4 pixels is one of 1: sixteen times as fast.
        quarter = (-(-region.width // 4), -(-region.height // 4))
        small = cv2.resize(weight, quarter, interpolation=cv2.INTER_AREA)
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * (-(-reach // 4)) + 1,) * 2)
        weight = cv2.max(weight, cv2.resize(cv2.dilate(small, kernel), (region.width, region.height)))
        face = part(frame, wider)
        if self.color is not None:
            hidden = np.full_like(face, self.color[::-1])
        else:
            scale = self.blocks / max(face.shape[:2])
            size = (max(1, round(face.shape[1] * scale)), max(1, round(face.shape[0] * scale)))
            blocks = cv2.resize(face, size, interpolation=cv2.INTER_AREA)
            hidden = cv2.resize(blocks, (face.shape[1], face.shape[0]), interpolation=self.edges)
        face[:] = blend(face, hidden, weight)


def blur_background(frame: np.ndarray, mask: Mask, threshold: float) -> np.ndarray:
    """Everything but the face out of focus. The face does not bleed into what is blurred."""
    height, width = frame.shape[:2]
    weight = np.zeros((height, width), np.uint8)
    if mask.region.width:
        part(weight, mask)[:] = coverage(mask, threshold)
    shrink = max(
        1, max(height, width) // 160
    )  # the blur itself is as cheap on a large frame as on a small one
    small = (max(1, width // shrink), max(1, height // shrink))
    image = cv2.resize(frame, small, interpolation=cv2.INTER_AREA).astype(np.float32)
    outside = 1 - cv2.resize(weight, small, interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    outside = np.maximum(outside, 1e-3)[..., None]
    sigma = max(small) / 80
    image = cv2.GaussianBlur(image * outside, (0, 0), sigma)
    image /= cv2.GaussianBlur(outside, (0, 0), sigma)[..., None]
    blurred = cv2.resize(
        np.clip(image, 0, 255).astype(np.uint8), (width, height), interpolation=cv2.INTER_CUBIC
    )
    return _with_face(blurred, frame, mask, threshold)


class Background:
    """The face in front of a picture or a colour."""

    def __init__(self, what: str):
        """what: a picture file, or a colour as `parse_color` takes it. Raises UserError if it is neither."""
        try:
            self.picture = np.array([[parse_color(what)]], np.uint8)
        except UserError:
            self.picture = read_image(what)
        self.picture = cv2.cvtColor(self.picture, cv2.COLOR_RGB2BGR)
        self.fitted = self.picture

    def __call__(self, frame: np.ndarray, mask: Mask, threshold: float) -> np.ndarray:
        if self.fitted.shape != frame.shape:
            self.fitted = _cover(self.picture, *frame.shape[:2])
        return _with_face(self.fitted.copy(), frame, mask, threshold)


def _with_face(background: np.ndarray, frame: np.ndarray, mask: Mask, threshold: float) -> np.ndarray:
    """The frame's face laid over the background, in place."""
    if mask.region.width:
        below = part(background, mask)
        below[:] = blend(below, part(frame, mask), coverage(mask, threshold))
    return background


def _cover(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    """Scaled to cover the whole of height x width, aspect ratio kept, and cut to it about its centre."""
    scale = max(height / picture.shape[0], width / picture.shape[1])
    size = (max(width, round(picture.shape[1] * scale)), max(height, round(picture.shape[0] * scale)))
    picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    top, left = (size[1] - height) // 2, (size[0] - width) // 2
    return picture[top : top + height, left : left + width].copy()


def to_bgr(picture: np.ndarray) -> np.ndarray:
    """Any view's picture as HWC BGR, as videos and windows need it; what is transparent becomes black."""
    if picture.ndim == 2:
        return cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR)
    if picture.shape[2] == 4:
        alpha = cv2.cvtColor(picture[..., 3], cv2.COLOR_GRAY2BGR)
        return cv2.multiply(picture[..., :3], alpha, scale=1 / 255)
    return picture


def to_rgb(picture: np.ndarray) -> np.ndarray:
    """Return any view's picture, HWC BGR or BGRA or HW, as picture files have it: HWC RGB or RGBA or HW."""
    if picture.ndim == 2:
        return picture
    return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB if picture.shape[2] == 3 else cv2.COLOR_BGRA2RGBA)


def with_alpha(picture: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """Return a cut-out, HxWx4 BGRA, of a source that is HxWx4 RGBA: transparent where either is."""
    alpha = cv2.multiply(picture[..., 3], pixels[..., 3], scale=1 / 255)
    colors = cv2.cvtColor(np.ascontiguousarray(pixels[..., :3]), cv2.COLOR_RGB2BGR)
    colors[alpha == 0] = 0  # what is transparent must not be recoverable
    return np.dstack([colors, alpha])
