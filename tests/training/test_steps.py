"""The optimisation step: clipping, its state, and the learning rate."""

import math

import numpy as np
import pytest
from small_network import SmallNetwork

from training.options import Recipe
from training.steps import Step, learning_rate
from utils import UserError, import_oneflow

flow = import_oneflow()


def batches(count, size=32, seed=0):
    rng = np.random.default_rng(seed)
    for _ in range(count):
        image = rng.standard_normal((2, 3, size, size)).astype(np.float32)
        mask = rng.choice([0, 128, 255], (2, 1, size, size)).astype(np.uint8)
        yield flow.tensor(image), flow.tensor(mask)


def build(**recipe):
    flow.manual_seed(0)
    model = SmallNetwork()
    return model, Step(model, Recipe(**recipe), world=1)


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_state_put_back_continues_the_same(optimizer):
    model, step = build(optimizer=optimizer)
    for image, mask in batches(3):
        step(image, mask, 1e-3)
    weights = {name: flow.tensor(tensor.numpy().copy()) for name, tensor in model.state_dict().items()}
    arrays = step.state_arrays()
    continued = [float(step(image, mask, 1e-3)[0].numpy()) for image, mask in batches(3, seed=1)]

    model, step = build(optimizer=optimizer)
    model.load_state_dict(weights)
    step.load_state_arrays(arrays, 3)
    resumed = [float(step(image, mask, 1e-3)[0].numpy()) for image, mask in batches(3, seed=1)]
    assert resumed == continued


def test_a_state_of_other_shapes_is_refused():
    _, step = build()
    step(*next(batches(1)), 1e-3)
    arrays = step.state_arrays()
    first = next(iter(arrays))
    for damaged in (
        {**arrays, first: np.zeros(3, np.float32)},
        {name: array for name, array in arrays.items() if name != first},
        {**arrays, "99.exp_avg": np.zeros(3, np.float32)},
        {**arrays, "no number": np.zeros(3, np.float32)},
    ):
        with pytest.raises(UserError, match="optimizer state does not fit"):
            build()[1].load_state_arrays(damaged, 1)
    with pytest.raises(UserError, match="optimizer state does not fit"):
        build(optimizer="sgd")[1].load_state_arrays(arrays, 1)


def test_gradient_is_clipped():
    moved = {}
    for clip in (0.01, 1e6):
        model, step = build(optimizer="sgd", clip=clip, weight_decay=0.0)
        before = model.firstconv.weight.numpy().copy()
        step(*next(batches(1)), 1e-3 / 3)
        moved[clip] = np.linalg.norm(model.firstconv.weight.numpy() - before)
    first_rate = 1e-3 / 3
    assert 0 < moved[0.01] < 1.2 * first_rate * 0.01 < moved[1e6] / 3


def parameters_after(rate, **recipe):
    model, step = build(optimizer="sgd", **recipe)
    step(*next(batches(1)), rate)
    return [parameter.numpy() for parameter in model.parameters()]


def test_biases_and_norms_are_not_decayed():
    kept, decayed = (parameters_after(1e-3, weight_decay=decay) for decay in (0.0, 10.0))
    assert [np.array_equal(*pair) for pair in zip(kept, decayed)] == [array.ndim <= 1 for array in kept]


def test_the_rate_is_that_of_all_parameters():
    for still, moved in zip(parameters_after(0.0), [p.numpy() for p in build()[0].parameters()], strict=True):
        np.testing.assert_array_equal(still, moved)


def test_the_weight_of_the_jaccard_term_counts():
    none, one, two = (
        float(build(jaccard_weight=weight)[1](*next(batches(1)), 0.0)[0].numpy())
        for weight in (0.0, 1.0, 2.0)
    )
    assert one > none and two - one == pytest.approx(one - none, rel=1e-4)


def test_the_rate_rises_once_and_falls_along_one_cosine_over_the_whole_run():
    rates = [learning_rate(0.5, step / 100, step, warmup=8) for step in range(100)]
    assert rates[0] == pytest.approx(0.5 / 8)
    top = int(np.argmax(rates))
    assert top in (7, 8)
    assert rates[:top] == sorted(set(rates[:top]))
    expected = [0.5 * (0.01 + 0.99 * (1 + math.cos(math.pi * s / 100)) / 2) for s in range(8, 100)]
    assert rates[8:] == pytest.approx(expected)


def test_the_rise_takes_a_tenth_of_a_short_run():
    assert learning_rate(1.0, 0.05, 1, warmup=1000) == pytest.approx(0.5, abs=0.01)
    assert learning_rate(1.0, 0.10, 2, warmup=1000) > 0.97
    assert learning_rate(1.0, 1.0, 9999, warmup=1000) == pytest.approx(0.01)
