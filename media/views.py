"""What is shown of a frame and its mask. A view is one entry in the list at the end.

    view = parse_view("overlay")
    picture = view.draw(frame, mask, Style(threshold=0.5))

Every view takes a frame (HWC uint8 BGR, which it may change and return), its mask and a style, and returns
HWC uint8 BGR; `cutout` returns BGRA, the masks HxW. Only that part of the frame where the mask is changes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image, ImageColor, ImageOps

from faces.mask import Mask
from files.pictures import read_image
from media.shapes import Style, coverage, part, reshape, soften
from utils import UserError

BLOCKS = 30  # what is left of a hidden face at a strength of 1: so many blocks across


class View(NamedTuple):
    """One way to show a frame."""

    name: str
    picture: Callable[..., np.ndarray]  # of a frame, a mask and a style
    hides: bool = False  # who a face belongs to cannot be seen
    numbers: bool = False  # it shows the numbers of faces, which are those of the views that hide them
    transparent: bool = False  # its pictures have an alpha channel
    exact: bool = False  # its pictures must not be changed by a lossy format
    takes: Callable[[str], object] | None = None  # makes the last argument of what follows a colon

    @property
    def careful(self) -> bool:
        """Whether fewer faces may be missed."""
        return self.hides or self.numbers

    def draw(self, frame: np.ndarray, mask: Mask, style: Style) -> np.ndarray:
        return self.picture(frame, reshape(mask, style, self.hides), style)


def parse_view(text: str) -> View:
    """Return the view of that name, such as `fill-face:COLOUR` or `background:PICTURE-or-COLOUR`.

    Raises UserError for an unknown name or a broken background picture.
    """
    view, what = find_view(text), text.partition(":")[2]
    return view._replace(picture=partial(view.picture, what=view.takes(what))) if ":" in text else view


def find_view(text: str) -> View:
    """Return the view of that name, without what follows a colon in it. Raises UserError if there is none."""
    name, colon, _ = text.partition(":")
    view = VIEWS.get(name)
    if view is None or (colon and view.takes is None):
        raise UserError(f"there is no view '{text}'; choose from {', '.join(VIEWS)}")
    return view._replace(name=text)


def parse_color(text: str) -> tuple[int, int, int]:
    """Return '#00c878', 'red' or '0,200,120' as RGB. Raises UserError for anything else."""
    try:
        color = ImageColor.getrgb(f"rgb({text})" if "," in text and "(" not in text else text)[:3]
    except ValueError:
        color = (-1,)
    if not all(0 <= value <= 255 for value in color):
        raise UserError(f"'{text}' is no colour: write a name, #RRGGBB or R,G,B")
    return color


def blend(below: np.ndarray, above: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return below + (above - below) * weight / 255, for HWC uint8 images and an HxW uint8 weight."""
    weight = cv2.cvtColor(weight, cv2.COLOR_GRAY2BGR)
    above = cv2.multiply(above, weight, scale=1 / 255)
    below = cv2.multiply(below, cv2.bitwise_not(weight), scale=1 / 255)
    return cv2.add(below, above)


def overlay(frame: np.ndarray, mask: Mask, style: Style) -> np.ndarray:
    """Return the frame with the mask in a colour over the faces."""
    if mask.region.width:
        face = part(frame, mask.region)
        weight = cv2.convertScaleAbs(coverage(mask, style), alpha=style.alpha)
        face[:] = blend(face, fill(face, style.color), weight)
    return frame


def side_by_side(frame: np.ndarray, mask: Mask, style: Style) -> np.ndarray:
    """Return the frame, and right of it its overlay."""
    return np.hstack([frame, overlay(frame.copy(), mask, style)])


def numbers(frame: np.ndarray, mask: Mask, style: Style) -> np.ndarray:
    """Return the overlay with each face's box, track number and confidence."""
    frame = overlay(frame, mask, style)
    scale = max(0.4, max(frame.shape[:2]) / 1600)
    for face in mask.faces:
        cv2.rectangle(frame, face.box[:2], (face.box.right - 1, face.box.bottom - 1), style.color[::-1], 2)
        text, place = f"{face.track}  {face.confidence:.2f}", (face.box.left, max(face.box.top - 5, 15))
        for color, thickness in (((0, 0, 0), 4), ((255, 255, 255), 1)):
            cv2.putText(frame, text, place, cv2.FONT_HERSHEY_SIMPLEX, scale, color, thickness, cv2.LINE_AA)
    return frame


def cutout(frame: np.ndarray, mask: Mask, style: Style) -> np.ndarray:
    """Return BGRA: the faces alone, transparent elsewhere."""
    picture = np.zeros((*frame.shape[:2], 4), np.uint8)
    if mask.region.width:
        part(picture, mask.region)[:] = with_alpha(part(frame, mask.region), coverage(mask, style))
    return picture


def with_alpha(image: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Return an image, HWC uint8 BGR, with this transparency, HxW: what is not seen cannot be recovered."""
    picture = np.dstack([image, alpha])
    picture[alpha == 0] = 0
    return picture


def hard_mask(frame: np.ndarray, mask: Mask, style: Style) -> np.ndarray:
    """Return HxW: 255 is face, 0 is not."""
    return cv2.threshold(mask.probability, int(style.threshold * 255), 255, cv2.THRESH_BINARY)[1]


def soft_mask(frame: np.ndarray, mask: Mask, style: Style) -> np.ndarray:
    """Return the probability of face, HxW uint16, 0 to 65,535 in 256 steps."""
    return mask.probability.astype(np.uint16) * 257


def fill(face: np.ndarray, color: tuple[int, int, int]) -> np.ndarray:
    """Return an image of that size in one colour, RGB."""
    return np.full_like(face, color[::-1])


def coarsen(face: np.ndarray, style: Style, edges: int) -> np.ndarray:
    """Return the image in the fewer blocks on its longer side the stronger, each of three pixels at least.

    edges: of cv2.resize.
    """
    height, width = face.shape[:2]
    scale = max(1, min(round(BLOCKS / style.strength), max(height, width) // 3)) / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(face, size, interpolation=cv2.INTER_AREA)
    return cv2.resize(small, (width, height), interpolation=edges)


def hide_faces(frame: np.ndarray, mask: Mask, style: Style, edges: int | None = None, what=(0, 0, 0)):
    """Return the frame with every face made unrecognisable: coarse, or without `edges` in a colour, RGB."""
    for face in mask.faces:
        if face.region.width:
            pixels = part(frame, face.region)
            cover = fill(pixels, what) if edges is None else coarsen(pixels, style, edges)
            pixels[:] = blend(pixels, cover, soften(face.mask, style))
    return frame


def blur_background(frame: np.ndarray, mask: Mask, style: Style) -> np.ndarray:
    """Return everything but the faces out of focus. No face bleeds into what is blurred."""
    height, width = frame.shape[:2]
    face = np.zeros((height, width), np.uint8)
    if mask.region.width:
        part(face, mask.region)[:] = coverage(mask, style)
    shrink = max(1, max(height, width) // 160)  # the blur is as cheap on a large frame as on a small one
    small = (max(1, width // shrink), max(1, height // shrink))
    image = cv2.resize(frame, small, interpolation=cv2.INTER_AREA).astype(np.float32)
    outside = 1 - cv2.resize(face, small, interpolation=cv2.INTER_AREA)[..., None] / np.float32(255)
    outside = np.maximum(outside, 1e-3)
    sigma = max(small) / 80
    image = cv2.GaussianBlur(image * outside, (0, 0), sigma)
    image /= cv2.GaussianBlur(outside, (0, 0), sigma)[..., None]
    image = np.clip(image, 0, 255).astype(np.uint8)
    blurred = cv2.resize(image, (width, height), interpolation=cv2.INTER_CUBIC)
    return with_faces(blurred, frame, mask, style)


def read_background(what: str) -> Callable[[int, int], np.ndarray]:
    """Return what makes HWC uint8 BGR of (width, height), of a picture file or a colour."""
    try:
        picture = np.array([[parse_color(what)]], np.uint8)
    except UserError:
        picture = read_image(what)
    picture = Image.fromarray(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    return lru_cache(maxsize=1)(lambda *size: np.array(ImageOps.fit(picture, size)))


def background(frame: np.ndarray, mask: Mask, style: Style, what=read_background("#00b140")) -> np.ndarray:  # noqa: B008
    """Return the faces in front of a picture or a colour. what: see `read_background`."""
    return with_faces(what(*frame.shape[1::-1]).copy(), frame, mask, style)


def with_faces(image: np.ndarray, frame: np.ndarray, mask: Mask, style: Style) -> np.ndarray:
    """Return the image with the frame's faces laid over it, in place."""
    if mask.region.width:
        below = part(image, mask.region)
        below[:] = blend(below, part(frame, mask.region), coverage(mask, style))
    return image


def to_bgr(picture: np.ndarray) -> np.ndarray:
    """Return any view's picture as HWC uint8 BGR, for videos and windows; transparent becomes black."""
    if picture.dtype == np.uint16:
        picture = (picture >> 8).astype(np.uint8)
    if picture.ndim == 2:
        return cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR)
    if picture.shape[2] == 4:
        alpha = cv2.cvtColor(picture[..., 3], cv2.COLOR_GRAY2BGR)
        return cv2.multiply(picture[..., :3], alpha, scale=1 / 255)
    return picture


def to_rgb(picture: np.ndarray, suffix: str = ".png") -> np.ndarray:
    """Return any view's picture, HWC BGR or BGRA or HW, as picture files have it: HWC RGB or RGBA or HW.

    suffix: of a file that will hold it; of most the levels have 8 bits.
    """
    if picture.dtype == np.uint16 and suffix.lower() not in (".png", ".tif", ".tiff"):
        picture = (picture >> 8).astype(np.uint8)
    if picture.ndim == 2:
        return picture
    return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB if picture.shape[2] == 3 else cv2.COLOR_BGRA2RGBA)


LIST = (  # in the order of the key v
    View("overlay", overlay),
    View("cutout", cutout, transparent=True, exact=True),
    View("mask", hard_mask, exact=True),
    View("mask-soft", soft_mask, exact=True),
    View("blur-face", partial(hide_faces, edges=cv2.INTER_LINEAR), hides=True),
    View("mosaic-face", partial(hide_faces, edges=cv2.INTER_NEAREST), hides=True),
    View("fill-face", hide_faces, hides=True, takes=parse_color),
    View("blur-background", blur_background),
    View("background", background, takes=read_background),
    View("side-by-side", side_by_side),
    View("numbers", numbers, numbers=True),
)
VIEWS = {view.name: view for view in LIST}
