"""What is shown of a frame and its mask.

    view = parse_view("overlay", color=(0, 255, 0))
    picture = view(frame, mask, threshold=0.5)

Every view takes a frame (HWC uint8 BGR, which it may change and return) and its mask, and returns HWC uint8
BGR; `cutout` returns BGRA, `mask` HxW. Only the part of the frame where the mask is gets touched.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial

import cv2
import numpy as np
from PIL import Image, ImageColor, ImageOps

from faces.mask import Mask, Region
from files.pictures import read_image
from utils import UserError

View = Callable[[np.ndarray, Mask, float], np.ndarray]
EDGE = 0.1  # of probability, to either side of the threshold: the width of the soft edge
SEEN = 0.25  # of a found face's box, that the mask must cover to be trusted to hide it
HIDING = ("blur-face", "mosaic-face", "fill-face")  # who a face belongs to cannot be seen
VIEWS = ("overlay", "cutout", "mask", *HIDING, "blur-background", "side-by-side")  # v steps through these
BLOCKS = 30  # what is left of a hidden face at a strength of 1: so many blocks across
STRENGTH = 5


def hides(view: str) -> bool:
    """Whether a view is there to hide who a face belongs to."""
    return view.partition(":")[0] in HIDING


def parse_view(
    name: str, color: tuple[int, int, int] = (0, 200, 120), alpha: float = 0.5, strength: int = STRENGTH
) -> View:
    """Return the view of that name. color: RGB, alpha: 0..1, both of the overlay. strength: of hiding, 1..10.

    `fill-face:COLOUR` takes a colour, `background:WHAT` a picture file or a colour. Raises UserError for an
    unknown name or a broken background picture.
    """
    kind, colon, what = name.partition(":")
    blocks = max(1, round(BLOCKS / strength))
    if kind == "background" and what:
        return background(what)
    if kind == "fill-face":
        return partial(hide_faces, cover=partial(fill, color=parse_color(what if colon else "black")))
    views = {
        "overlay": partial(overlay, color=color, alpha=alpha),
        "cutout": cutout,
        "mask": mask_only,
        "blur-face": partial(hide_faces, cover=partial(coarsen, blocks=blocks, edges=cv2.INTER_LINEAR)),
        "mosaic-face": partial(hide_faces, cover=partial(coarsen, blocks=blocks, edges=cv2.INTER_NEAREST)),
        "blur-background": blur_background,
        "side-by-side": partial(side_by_side, color=color, alpha=alpha),
    }
    if name not in views:
        raise UserError(
            f"there is no view '{name}'; choose from {', '.join(VIEWS)}, fill-face:COLOUR, "
            "background:PICTURE-or-COLOUR"
        )
    return views[name]


def parse_color(text: str) -> tuple[int, int, int]:
    """Return '#00c878', 'red' or '0,200,120' as RGB. Raises UserError for anything else."""
    try:
        color = ImageColor.getrgb(f"rgb({text})" if "," in text and "(" not in text else text)[:3]
    except ValueError:
        color = (-1,)
    if not all(0 <= value <= 255 for value in color):
        raise UserError(f"'{text}' is no colour: write a name, #RRGGBB or R,G,B")
    return color


def coverage(mask: Mask, threshold: float) -> np.ndarray:
    """Return how much of each pixel of the mask's region is face, hxw uint8: 0 or 255 but for a soft edge."""
    levels = np.arange(256, dtype=np.float32) / 255
    edge = min(EDGE, threshold, 1 - threshold)  # what is certain stays so
    table = np.clip((levels - threshold) / (2 * edge) + 0.5, 0, 1)
    return cv2.LUT(part(mask.probability, mask.region), (table * 255 + 0.5).astype(np.uint8))


def blend(below: np.ndarray, above: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return below + (above - below) * weight / 255, for HWC uint8 images and an HxW uint8 weight."""
    weight = cv2.cvtColor(weight, cv2.COLOR_GRAY2BGR)
    above = cv2.multiply(above, weight, scale=1 / 255)
    below = cv2.multiply(below, cv2.bitwise_not(weight), scale=1 / 255)
    return cv2.add(below, above)


def part(image: np.ndarray, region: Region) -> np.ndarray:
    """Return the part of an image in a region within it, as a view of it."""
    return image[region.rows, region.columns]


def overlay(frame: np.ndarray, mask: Mask, threshold: float, color: tuple, alpha: float) -> np.ndarray:
    """Return the frame with the mask in a colour, RGB, over the face."""
    if mask.region.width:
        face = part(frame, mask.region)
        weight = cv2.convertScaleAbs(coverage(mask, threshold), alpha=alpha)
        face[:] = blend(face, fill(face, color), weight)
    return frame


def side_by_side(frame: np.ndarray, mask: Mask, threshold: float, **how) -> np.ndarray:
    return np.hstack([frame, overlay(frame.copy(), mask, threshold, **how)])


def cutout(frame: np.ndarray, mask: Mask, threshold: float) -> np.ndarray:
    """Return BGRA: the face alone, transparent elsewhere."""
    picture = np.zeros((*frame.shape[:2], 4), np.uint8)
    if mask.region.width:
        alpha = coverage(mask, threshold)
        face = cv2.merge([part(frame, mask.region), alpha])
        face[alpha == 0] = 0  # what is transparent must not be recoverable
        part(picture, mask.region)[:] = face
    return picture


def mask_only(frame: np.ndarray, mask: Mask, threshold: float) -> np.ndarray:
    """Return HxW: 255 is face, 0 is not."""
    return cv2.threshold(mask.probability, int(threshold * 255), 255, cv2.THRESH_BINARY)[1]


def fill(face: np.ndarray, color: tuple[int, int, int]) -> np.ndarray:
    """Return an image of that size in one colour, RGB."""
    return np.full_like(face, color[::-1])


def coarsen(face: np.ndarray, blocks: int, edges: int) -> np.ndarray:
    """Return the image in so many blocks on its longer side. edges: between them, of cv2.resize."""
    height, width = face.shape[:2]
    scale = blocks / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(face, size, interpolation=cv2.INTER_AREA)
    return cv2.resize(small, (width, height), interpolation=edges)


def hide_faces(frame: np.ndarray, mask: Mask, threshold: float, cover: Callable) -> np.ndarray:
    """Return the frame with every face made unrecognisable. cover: what makes that of a face's pixels.

    The mask is widened, to be on the safe side, and where the network sees less than a quarter of a face that
    the detector found, all of its box is hidden, as an ellipse.
    """
    probability, regions = mask.probability.copy(), [face.region for face in mask.faces] or [mask.region]
    for index, face in enumerate(mask.faces):
        width, height = face.box.width, face.box.height
        if face.area(threshold) < SEEN * width * height:  # found, but the network sees too little of it
            centre = tuple(round(place) for place in face.box.centre)
            cv2.ellipse(probability, centre, (width // 2, height // 2), 0, 0, 360, 255, -1)
            regions[index] = face.region.union(face.box)
    for left, top, right, bottom in (region for region in regions if region.width):
        reach = max(2, max(right - left, bottom - top) // 16)
        wider = Region(left - reach, top - reach, right + reach, bottom + reach).inside(*frame.shape[:2])
        weight = coverage(Mask(probability, wider), threshold)
        # Widened at a quarter of the size, where a reach of 4 pixels is one of 1: sixteen times as fast.
        quarter = (-(-wider.width // 4), -(-wider.height // 4))
        small = cv2.resize(weight, quarter, interpolation=cv2.INTER_AREA)
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * (-(-reach // 4)) + 1,) * 2)
        weight = cv2.max(weight, cv2.resize(cv2.dilate(small, kernel), (wider.width, wider.height)))
        face = part(frame, wider)
        face[:] = blend(face, cover(face), weight)
    return frame


def blur_background(frame: np.ndarray, mask: Mask, threshold: float) -> np.ndarray:
    """Return everything but the face out of focus. The face does not bleed into what is blurred."""
    height, width = frame.shape[:2]
    face = np.zeros((height, width), np.uint8)
    if mask.region.width:
        part(face, mask.region)[:] = coverage(mask, threshold)
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
    return with_face(blurred, frame, mask, threshold)


def background(what: str) -> View:
    """Return the view of the face in front of a picture file, or of a colour as `parse_color` takes it."""
    try:
        picture = np.array([[parse_color(what)]], np.uint8)
    except UserError:
        picture = read_image(what)
    picture = Image.fromarray(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    fitted = lru_cache(maxsize=1)(lambda *size: np.array(ImageOps.fit(picture, size)))

    def view(frame: np.ndarray, mask: Mask, threshold: float) -> np.ndarray:
        height, width = frame.shape[:2]
        return with_face(fitted(width, height).copy(), frame, mask, threshold)

    return view


def with_face(image: np.ndarray, frame: np.ndarray, mask: Mask, threshold: float) -> np.ndarray:
    """Return the image with the frame's face laid over it, in place."""
    if mask.region.width:
        below = part(image, mask.region)
        below[:] = blend(below, part(frame, mask.region), coverage(mask, threshold))
    return image


def to_bgr(picture: np.ndarray) -> np.ndarray:
    """Return any view's picture as HWC BGR, for videos and windows; what is transparent becomes black."""
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
