"""Light, colour and sharpness as cameras, rooms and video calls change them; images are HWC uint8 RGB."""

from __future__ import annotations

import cv2
import numpy as np

LEVELS = np.arange(256, dtype=np.float32)


def vary_light(image: np.ndarray, rng: np.random.Generator, face: float | None = None) -> np.ndarray:
    """Return the image as another camera might have taken it: light, lens, sensor and file, in this order.

    face: the height of the face in pixels, if there is one: now and then it becomes a small face, enlarged.
    """
    light = 1.0
    if rng.random() < 0.25:
        image = cast_shadow(image, rng)
    if rng.random() < 0.16:
        image = local_contrast(image, rng.uniform(1.0, 4.0))
    if rng.random() < 0.55:
        image = tone(image, np.exp(rng.normal(0, 0.3)), rng.uniform(0.7, 1.25), rng.uniform(-0.08, 0.08))
    if rng.random() < 0.16:
        light = np.exp(rng.uniform(np.log(0.1), np.log(0.7)))
        image = darken(image, light, rng.uniform(0.8, 1.3))
    kind = rng.random()
    if kind < 0.25:
        image = white_balance(image, np.exp(rng.normal(0, 0.15, 3)))
    elif kind < 0.4:  # a room's, a shop's, a screen's light: violet, orange, blue
        image = white_balance(image, gains(rng.uniform(0.2, 0.7), rng))
    elif kind < 0.47:
        image = two_lights(image, *(gains(rng.uniform(0.1, 0.8), rng) for _ in range(2)), rng)
    elif kind < 0.52:
        image = two_lights(image, np.ones(3), np.full(3, rng.uniform(1.4, 2.8)), rng)  # overexposed
    elif kind < 0.56:  # a stage at night: one saturated colour in the dark, and a spot
        light = rng.uniform(0.12, 0.5)
        colour = gains(rng.uniform(0.5, 1.2), rng)
        image = two_lights(image, light * colour, light * colour * rng.uniform(0.4, 3), rng)
    if rng.random() < 0.12:
        image = grade(image, np.exp(rng.normal(0, 0.25, 3)))
    if rng.random() < 0.3:
        image = shift_hue(image, int(rng.integers(-6, 7)), rng.uniform(0.4, 1.5))
    if rng.random() < 0.08:
        image = grey(image)
    unit = image.shape[0] / 256
    if face and rng.random() < 0.18:
        image = small_face(image, np.exp(rng.uniform(np.log(22), np.log(64))) / face, rng)
    elif rng.random() < 0.12:
        image = lower_resolution(image, np.exp(rng.uniform(np.log(0.2), np.log(0.8))))
    elif rng.random() < 0.25:
        image = lens_blur(image, unit, rng)
    elif rng.random() < 0.2:
        image = sharpen(image, rng.uniform(0.3, 1.5))
    if rng.random() < (0.6 if light < 0.5 else 0.2):
        image = noise(image, rng.uniform(1, 12) * (1.0 if light > 0.5 else rng.uniform(0.3, 0.8)), rng)
    if rng.random() < 0.3:
        image = compress(image, int(rng.integers(20, 90)))
    return image


def gains(strength: float, rng: np.random.Generator) -> np.ndarray:
    """Return gains of red, green and blue of a random hue, within exp(-strength) and exp(strength)."""
    direction = np.cos(rng.uniform(0, 2 * np.pi) + np.array([0, 2, 4]) * np.pi / 3)
    return np.exp(strength * direction / np.abs(direction).max())


def small_face(image: np.ndarray, part: float, rng: np.random.Generator) -> np.ndarray:
    """Shrink to `part` of the size, spoil it as a poor camera does, and enlarge again: a face far away."""
    height, width = image.shape[:2]
    if part >= 1:
        return image
    size = max(round(width * part), 8), max(round(height * part), 8)
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    if rng.random() < 0.4:
        small = lens_blur(small, 0.25, rng)
    if rng.random() < 0.3:
        small = noise(small, rng.uniform(1, 8), rng)
    if rng.random() < 0.5:
        small = compress(small, int(rng.integers(35, 95)))
    kind = (cv2.INTER_LINEAR, cv2.INTER_CUBIC)[rng.integers(2)]
    return cv2.resize(small, (width, height), interpolation=kind)


def lens_blur(image: np.ndarray, unit: float, rng: np.random.Generator) -> np.ndarray:
    """Blur softly, out of focus, or along a motion; `unit`: how large what should be one pixel is."""
    kind = rng.random()
    if kind < 0.4:
        return cv2.GaussianBlur(image, (0, 0), rng.uniform(0.5, 1.8) * max(unit, 0.4))
    if kind < 0.7:
        return out_of_focus(image, rng.uniform(1.5, 6) * unit)
    return motion_blur(image, rng.uniform(3, 15) * unit, rng.uniform(0, 180))


def tone(image: np.ndarray, gamma: float, contrast: float, brightness: float) -> np.ndarray:
    """Apply a gamma curve, then stretch about the middle and shift (in parts of the whole range)."""
    curve = ((LEVELS / 255) ** gamma - 0.5) * contrast + 0.5 + brightness
    return cv2.LUT(image, to_bytes(curve * 255))


def darken(image: np.ndarray, light: float, gamma: float = 1.0) -> np.ndarray:
    """Leave `light` (0..1) of the brightness, with shadows that drown (gamma above 1) or are lifted."""
    return cv2.LUT(image, to_bytes((LEVELS / 255) ** gamma * 255 * light))


def cast_shadow(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Darken one side of a soft line, or a soft spot, as a lamp from the side or a leaf does."""
    light = np.float32(1 - rng.uniform(0.3, 0.85) * soft_side(rng, rng.uniform(0.01, 0.3)))
    return lighten(image, cv2.merge([light] * 3))


def two_lights(image: np.ndarray, first: np.ndarray, second: np.ndarray, rng) -> np.ndarray:
    """Multiply red, green and blue by `first`, and on one side or in a spot, softly, by `second`."""
    share = soft_side(rng, rng.uniform(0.05, 0.4))[..., None]
    return lighten(image, np.float32(first + (second - first) * share))


def soft_side(rng: np.random.Generator, softness: float, coarse: int = 32) -> np.ndarray:
    """Return (coarse, coarse) in 0..1: 1 on one side of a soft line, or in a soft spot."""
    y, x = np.mgrid[0:coarse, 0:coarse].astype(np.float32) / coarse - 0.5
    angle = rng.uniform(0, 2 * np.pi)
    cx, cy = rng.uniform(-0.3, 0.3, 2)
    if rng.random() < 0.6:
        distance = (x - cx) * np.cos(angle) + (y - cy) * np.sin(angle)
    else:
        a, b = rng.uniform(0.1, 0.4, 2)
        distance = (np.hypot((x - cx) / a, (y - cy) / b) - 1) * min(a, b)
    return 1 / (1 + np.exp(np.clip(distance / softness, -30, 30)))


def lighten(image: np.ndarray, light: np.ndarray) -> np.ndarray:
    """Multiply the image by a small picture of the light (float32), enlarged; what is too bright clips."""
    scale = 255 / max(float(light.max()), 1e-6)
    light = cv2.resize(to_bytes(light * scale), image.shape[1::-1], interpolation=cv2.INTER_CUBIC)
    return cv2.multiply(image, light, scale=1 / scale)


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


def grade(image: np.ndarray, gammas) -> np.ndarray:
    """Apply a gamma to red, green and blue each: colours that film has, with black and white as they were."""
    return cv2.LUT(image, to_bytes(255 * (LEVELS[:, None] / 255) ** gammas).reshape(1, 256, 3))


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


def out_of_focus(image: np.ndarray, radius: float) -> np.ndarray:
    """Make a disc of every point."""
    reach = int(np.ceil(radius))
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    disc = np.clip(radius + 0.5 - np.hypot(x, y), 0, 1).astype(np.float32)
    return cv2.filter2D(image, -1, disc / disc.sum(), borderType=cv2.BORDER_REFLECT_101)


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
