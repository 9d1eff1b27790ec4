"""The weights in the repository: whole, and as good as on the day they were put here."""

from pathlib import Path

import numpy as np
import pytest

from faceseg import FaceSegmenter
from files.masks import read_mask
from files.pictures import read_image
from runtimes.network import check_linknet34
from runtimes.weights import default_weights, read_weights, trained_size

WEIGHTS = Path(default_weights())
ASSETS = Path(__file__).parents[2] / "docs"
HEAD = (slice(0, 256), slice(100, 356))  # of the portrait
HEAD_IOU = 0.963  # measured in f32 when the weights were put here


def test_weights_are_whole_and_small():
    check_linknet34(read_weights(WEIGHTS))
    assert trained_size(WEIGHTS) % 32 == 0
    assert WEIGHTS.stat().st_size < 45e6


@pytest.mark.parametrize("precision, tolerance", [("f32", 0.003), ("auto", 0.01)])
def test_portrait_is_segmented_as_well_as_ever(precision, tolerance):
    image = read_image(ASSETS / "portrait.png")[HEAD]
    face = read_mask(ASSETS / "portrait_mask.png")[HEAD] > 0
    found = FaceSegmenter(precision=precision).segment(image) > 0.5
    iou = np.count_nonzero(found & face) / np.count_nonzero(found | face)
    assert iou == pytest.approx(HEAD_IOU, abs=tolerance)
