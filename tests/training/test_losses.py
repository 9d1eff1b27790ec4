"""The loss against a NumPy computation written from its definition, and what unjudged pixels must not do."""

import numpy as np
import pytest

from training.losses import image_iou, segmentation_loss
from utils import import_oneflow

flow = import_oneflow()


@pytest.fixture
def example():
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 4, (3, 1, 8, 10)).astype(np.float32)
    mask = rng.choice([0, 128, 255], (3, 1, 8, 10)).astype(np.uint8)
    return logits, mask


def numpy_loss(logits, mask, jaccard_weight):
    losses = []
    for x, m in zip(logits.astype(np.float64), mask):
        x, y = x[m != 128], m[m != 128] == 255
        p = 1 / (1 + np.exp(-x))
        cross_entropy = -np.mean(np.where(y, np.log(p), np.log(1 - p)))
        intersection = p[y].sum()
        union = p.sum() + y.sum() - intersection
        losses.append(cross_entropy - jaccard_weight * np.log((intersection + 1) / (union + 1)))
    return np.mean(losses)


@pytest.mark.parametrize("jaccard_weight", [0.0, 1.0, 2.5])
def test_loss_equals_its_definition(example, jaccard_weight):
    logits, mask = example
    loss = segmentation_loss(flow.tensor(logits), flow.tensor(mask), jaccard_weight)
    assert float(loss.numpy()) == pytest.approx(numpy_loss(logits, mask, jaccard_weight), rel=1e-5)


def test_unjudged_pixels_have_no_gradient_and_the_others_have_one(example):
    logits, mask = example
    x = flow.tensor(logits, requires_grad=True)
    segmentation_loss(x, flow.tensor(mask)).backward()
    gradient = x.grad.numpy()
    assert (gradient[mask == 128] == 0).all()
    assert (gradient[mask != 128] != 0).all()


def test_gradient_equals_finite_differences(example):
    logits, mask = example
    x = flow.tensor(logits, requires_grad=True)
    segmentation_loss(x, flow.tensor(mask), 1.0).backward()
    gradient = x.grad.numpy()
    for place in [(0, 0, 1, 2), (1, 0, 4, 4), (2, 0, 7, 9)]:
        step = np.zeros(logits.shape)
        step[place] = 1e-4
        difference = numpy_loss(logits + step, mask, 1.0) - numpy_loss(logits - step, mask, 1.0)
        assert gradient[place] == pytest.approx(difference / 2e-4, abs=1e-5)


def test_loss_is_finite_for_extreme_logits_and_images_without_face_or_judgement():
    logits = flow.tensor(np.array([500, -500, 500, -500], np.float32).reshape(1, 1, 2, 2).repeat(3, 0))
    mask = np.zeros((3, 1, 2, 2), np.uint8)
    mask[1], mask[2] = 128, 255
    assert np.isfinite(segmentation_loss(logits, flow.tensor(mask)).numpy())


def test_batch_is_the_mean_of_its_images(example):
    logits, mask = example
    whole = float(segmentation_loss(flow.tensor(logits), flow.tensor(mask)).numpy())
    single = [
        float(segmentation_loss(flow.tensor(logits[i : i + 1]), flow.tensor(mask[i : i + 1])).numpy())
        for i in range(3)
    ]
    assert whole == pytest.approx(np.mean(single), rel=1e-6)


def test_iou_counts_judged_pixels_above_zero():
    logits = np.array([[3, 3, -3, -3], [3, -3, 3, -3], [-1, -1, -1, -1]], np.float32).reshape(3, 1, 2, 2)
    mask = np.array([[255, 255, 0, 0], [255, 0, 128, 255], [0, 0, 128, 0]], np.uint8).reshape(3, 1, 2, 2)
    # all right; one of two found and the unjudged one ignored; nothing there and nothing found
    assert image_iou(flow.tensor(logits), flow.tensor(mask)).numpy().tolist() == [1.0, 0.5, 1.0]
