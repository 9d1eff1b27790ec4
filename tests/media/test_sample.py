"""The sample clip: python -m pytest tests/media/test_sample.py"""

from __future__ import annotations

import itertools
from pathlib import Path

import cv2
import numpy as np
import pytest

from media.sample import FACE, FRAMES, PORTRAIT, SIZE, Sample, path

ROOT = Path(__file__).resolve().parents[2]


def test_the_face_stays_well_inside_the_frame_and_moves():
    places = []
    for index in range(FRAMES):
        matrix = path(index, 512)
        for x, y in ((-0.1, -0.13), (0.1, 0.13)):  # the corners of the face
            corner = matrix @ np.array([(FACE[0] + x) * 512, (FACE[1] + y) * 512, 1])
            assert 0 <= corner[0] < SIZE[1] and 0 <= corner[1] < SIZE[0]
        places.append(matrix @ np.array([FACE[0] * 512, FACE[1] * 512, 1]))
    steps = np.linalg.norm(np.diff(places, axis=0), axis=1)
    assert np.ptp(places, axis=0).min() > 40 and 0.2 < steps.mean() < 10
    np.testing.assert_allclose(path(FRAMES, 512), path(0, 512), atol=1e-3)


def test_the_path_is_that_of_the_same_scene_in_any_size():
    np.testing.assert_allclose(path(33, 512)[:, :2] * 2, path(33, 256)[:, :2], rtol=1e-5)


def test_stride_takes_every_seventh_frame():
    plain, sample = Sample(), Sample(stride=7)
    images = [plain.read().image for _ in range(15)]
    assert sample.rate == pytest.approx(plain.rate / 7)
    frames = []
    while (frame := sample.read()) is not None:
        frames.append(frame)
    assert len(frames) == sample.expected == -(-FRAMES // 7)
    assert [frame.index for frame in frames[:3]] == [0, 7, 14]
    for frame in frames[:3]:
        np.testing.assert_array_equal(frame.image, images[frame.index])


def test_one_round_or_endless():
    sample = Sample()
    frames = 0
    while (frame := sample.read()) is not None:
        frames += 1
        last = frame
    assert frames == FRAMES and last.image.shape == (*SIZE, 3) and last.image.dtype == np.uint8
    endless = Sample(endless=True)
    image, at, _ = next(itertools.islice(endless.pictures, FRAMES, None))
    assert at == FRAMES / endless.rate
    assert np.abs(image.astype(int) - Sample().read().image).max() <= 1


def test_the_frame_shows_the_portrait_in_bgr():
    matrix = path(0, 512)
    frame = Sample().read().image
    portrait = cv2.imread(str(PORTRAIT))
    x, y = matrix @ np.array([FACE[0] * 512, FACE[1] * 512, 1])
    patch = frame[round(y) - 3 : round(y) + 4, round(x) - 3 : round(x) + 4].mean(axis=(0, 1))
    wanted = portrait[round(FACE[1] * 512), round(FACE[0] * 512)]
    assert np.abs(patch - wanted).max() < 25 and patch[2] > patch[0]  # skin: more red than blue
