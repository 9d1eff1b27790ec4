"""Light, colour and sharpness as cameras, rooms and video calls change them; the mask stays as it is.

Every function takes and returns an HWC uint8 RGB image. How strong each change is and how often it comes is
in `vary_light`.
"""

from __future__ import annotations

import cv2
import numpy as np

LEVELS = np.arange(256, dtype=np.float32)


def vary_light(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the image as another camera might have taken it: light, lens, sensor and file, in this order."""

    def often(share: float) -> bool:
        return rng.random() < share

    light = 1.0
    if often(0.25):
        image = cast_shadow(image, rng)
    if often(0.12):
        image = local_contrast(image, rng.uniform(1.0, 4.0))
    if often(0.6):
        image = tone(image, np.exp(rng.normal(0, 0.3)), rng.uniform(0.7, 1.25), rng.uniform(-0.08, 0.08))
    if often(0.18):
        light = np.exp(rng.uniform(np.log(0.1), np.log(0.7)))
        image = darken(image, light, rng.uniform(0.8, 1.3))
    if often(0.45):  # strong: skin in the shade of a blue sky is violet
        image = white_balance(image, np.exp(rng.normal(0, 0.18, 3)))
    if often(0.35):
        image = shift_hue(image, int(rng.integers(-6, 7)), rng.uniform(0.4, 1.5))
    if often(0.08):
        image = grey(image)
    unit = image.shape[0] / 256
    if often(0.15):
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.5, 1.8) * max(unit, 0.4))
    elif often(0.07):
        image = motion_blur(image, rng.uniform(3, 13) * unit, rng.uniform(0, 180))
    elif often(0.2):
        image = sharpen(image, rng.uniform(0.3, 1.5))
    if often(0.15):
        image = lower_resolution(image, np.exp(rng.uniform(np.log(0.2), np.log(0.8))))
    if often(0.6 if light < 0.5 else 0.2):
        image = noise(image, rng.uniform(1, 12) * (1.0 if light > 0.5 else rng.uniform(0.3, 0.8)), rng)
    if often(0.3):
        image = compress(image, int(rng.integers(20, 90)))
    return image


def tone(image: np.ndarray, gamma: float, contrast: float, brightness: float) -> np.ndarray:
    """Apply a gamma curve, then stretch about the middle and shift (in parts of the whole range)."""
    curve = ((LEVELS / 255) ** gamma - 0.5) * contrast + 0.5 + brightness
    return cv2.LUT(image, to_bytes(curve * 255))


def darken(image: np.ndarray, light: float, gamma: float = 1.0) -> np.ndarray:
    """Leave `light` (0..1) of the brightness, with shadows that drown (gamma above 1) or are lifted."""
    return cv2.LUT(image, to_bytes((LEVELS / 255) ** gamma * 255 * light))


def cast_shadow(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Darken one side of a soft line, or a soft spot, as a lamp from the side or a leaf does."""
    coarse = 32
    y, x = np.mgrid[0:coarse, 0:coarse].astype(np.float32) / coarse - 0.5
    angle, softness = rng.uniform(0, 2 * np.pi), rng.uniform(0.01, 0.3)
    cx, cy = rng.uniform(-0.3, 0.3, 2)
    if rng.random() < 0.6:
        distance = (x - cx) * np.cos(angle) + (y - cy) * np.sin(angle)
    else:
        a, b = rng.uniform(0.1, 0.4, 2)
        distance = (np.hypot((x - cx) / a, (y - cy) / b) - 1) * min(a, b)
    shade = 1 / (1 + np.exp(np.clip(distance / softness, -30, 30)))
    light = to_bytes(255 * (1 - rng.uniform(0.3, 0.85) * shade))
    light = cv2.resize(light, image.shape[1::-1], interpolation=cv2.INTER_CUBIC)
    return cv2.multiply(image, cv2.merge([light] * 3), scale=1 / 255)


def local_contrast(image: np.ndarray, limit: float) -> np.ndarray:
    """Raise the contrast tile by tile (CLAHE, Zuiderveld 1994), as telephones do: old skin, hard pores."""
    lightness, a, b = cv2.split(cv2.cvtColor(image, cv2.COLOR_RGB2LAB))
    lightness = cv2.createCLAHE(limit, (4, 4)).apply(lightness)
    return cv2.cvtColor(cv2.merge([lightness, a, b]), cv2.COLOR_LAB2RGB)


def sharpen(image: np.ndarray, amount: float) -> np.ndarray:
    """Add `amount` of the difference to a blurred copy (unsharp mask)."""
    return cv2.addWeighted(image, 1 + amount, cv2.GaussianBlur(image, (0, 0), 1.2), -amount, 0)


def white_balance(image: np.ndarray, gains) -> np.ndarray:
    """Multiply red, green and blue by `gains`: the colour of the light."""
    return cv2.LUT(image, to_bytes(LEVELS[:, None] * np.asarray(gains)).reshape(1, 256, 3))


def shift_hue(image: np.ndarray, shift: int, gain: float) -> np.ndarray:
    """Turn the hue by `shift` of 180 and multiply the saturation by `gain`."""
    hue, saturation, value = cv2.split(cv2.cvtColor(image, cv2.COLOR_RGB2HSV))
    hue = cv2.LUT(hue, ((np.arange(256) + shift) % 180).astype(np.uint8))
    saturation = cv2.LUT(saturation, to_bytes(LEVELS * gain))
    return cv2.cvtColor(cv2.merge([hue, saturation, value]), cv2.COLOR_HSV2RGB)


def grey(image: np.ndarray) -> np.ndarray:
    """Take the colour out."""
    return cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)


def motion_blur(image: np.ndarray, length: float, angle: float) -> np.ndarray:
    """Smear by `length` pixels in the direction `angle` (degrees)."""
    side = int(length) | 1
    kernel = np.zeros((side, side), np.float32)
    kernel[side // 2] = 1
    turn = cv2.getRotationMatrix2D((side // 2, side // 2), angle, 1)
    kernel = cv2.warpAffine(kernel, turn, (side, side))
    return cv2.filter2D(image, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REFLECT_101)


def lower_resolution(image: np.ndarray, part: float) -> np.ndarray:
    """Shrink to `part` of the size and enlarge again: a small face, a poor camera."""
    height, width = image.shape[:2]
    small = max(int(width * part), 1), max(int(height * part), 1)
    return cv2.resize(cv2.resize(image, small, interpolation=cv2.INTER_AREA), (width, height))


def noise(image: np.ndarray, deviation: float, rng: np.random.Generator) -> np.ndarray:
    """Add the sensor's grain: normal, of this standard deviation in levels, another for each channel."""
    grain = rng.standard_normal(image.shape, np.float32) * np.float32(deviation)
    return cv2.add(image, grain, dtype=cv2.CV_8U)


def compress(image: np.ndarray, quality: int) -> np.ndarray:
    """Write and read as JPEG."""
    # Red and blue change places, which JPEG's colours notice little and which costs nothing to leave so.
    data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return cv2.imdecode(data, cv2.IMREAD_COLOR)


def to_bytes(values: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)
