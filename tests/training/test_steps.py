"""The optimisation step: eager and compiled do the same, the schedule is what it says."""

import itertools
import math

import numpy as np
import pytest
from small_network import SmallNetwork

from training.steps import EagerStep, GraphStep, learning_rate, make_optimizer, make_schedule
from utils import import_oneflow

flow = import_oneflow()


def batches(count, size=32, seed=0):
    rng = np.random.default_rng(seed)
    for _ in range(count):
        image = rng.standard_normal((2, 3, size, size)).astype(np.float32)
        mask = rng.choice([0, 128, 255], (2, 1, size, size)).astype(np.uint8)
        yield flow.tensor(image), flow.tensor(mask)


TOTAL, WARMUP = 40, 3


def build(kind, name="adamw", clip=2.0, weight_decay=0.05):
    flow.manual_seed(0)
    model = SmallNetwork()
    optimizer = make_optimizer(model, name, lr=1e-3, weight_decay=weight_decay, clip=clip)
    if kind == "graph":
        schedule = make_schedule(optimizer, TOTAL, WARMUP)
        return model, GraphStep(model, optimizer, schedule, 1.0, mixed_precision=False)
    return model, EagerStep(model, optimizer, 1.0)


def rate(step):
    return learning_rate(1e-3, step / TOTAL, step, WARMUP)


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_graph_equals_eager(name):
    (_, eager), (_, graph) = build("eager", name), build("graph", name)
    losses = []
    for index, (image, mask) in enumerate(batches(5, size=64)):
        loss, logits = eager(image, mask, rate(index))
        graph_loss, graph_logits = graph(image, mask, None)
        if not losses:
            np.testing.assert_allclose(graph_logits.numpy(), logits.numpy(), atol=1e-4)
        losses.append((float(loss.numpy()), float(graph_loss.numpy())))
    # Adam divides by the gradient's size, so rounding grows where gradients are tiny. Still, a schedule,
    # decay or clipping that differed would show: the losses move by a hundred times this tolerance.
    eager_losses, graph_losses = zip(*losses)
    assert graph_losses == pytest.approx(eager_losses, rel=1e-3)
    assert max(eager_losses) - min(eager_losses) > 0.02


@pytest.mark.parametrize("kind", ["eager", "graph"])
def test_state_put_back_continues_the_same(kind):
    model, step = build(kind)
    for image, mask in batches(3):
        step(image, mask, 1e-3)
    weights = {name: flow.tensor(tensor.numpy().copy()) for name, tensor in model.state_dict().items()}
    arrays = step.state_arrays()
    continued = [float(step(image, mask, 1e-3)[0].numpy()) for image, mask in batches(3, seed=1)]

    model, step = build(kind)
    model.load_state_dict(weights)
    step.load_state_arrays(arrays, 3)
    resumed = [float(step(image, mask, 1e-3)[0].numpy()) for image, mask in batches(3, seed=1)]
    assert resumed == continued


def test_gradient_is_clipped():
    moved = {}
    for clip in (0.01, 1e6):
        model, step = build("eager", "sgd", clip=clip, weight_decay=0.0)
        before = model.firstconv.weight.numpy().copy()
        step(*next(iter(batches(1))), 1e-3 / 3)
        moved[clip] = np.linalg.norm(model.firstconv.weight.numpy() - before)
    first_rate = 1e-3 / 3
    assert 0 < moved[0.01] < 1.2 * first_rate * 0.01 < moved[1e6] / 3


def compiled_rates(total, warmup, highest):
    optimizer = flow.optim.SGD([flow.nn.Parameter(flow.zeros(2))], lr=highest)
    schedule = make_schedule(optimizer, total, warmup)
    for _ in range(total):
        yield schedule.get_last_lr()[0]
        optimizer.step()
        schedule.step()


@pytest.mark.parametrize("compiled", [False, True])
def test_schedule_rises_once_and_falls_along_one_cosine_over_the_whole_run(compiled):
    if compiled:
        rates = list(compiled_rates(100, 8, 0.5))
    else:
        rates = [learning_rate(0.5, step / 100, step, warmup=8) for step in range(100)]
    assert rates[0] == pytest.approx(0.5 / 8)
    top = int(np.argmax(rates))
    assert top in (7, 8)
    assert all(a < b for a, b in itertools.pairwise(rates[:top]))
    expected = [0.5 * (0.01 + 0.99 * (1 + math.cos(math.pi * s / 100)) / 2) for s in range(8, 100)]
    assert rates[8:] == pytest.approx(expected)
    assert all(a > b for a, b in zip(rates[top:], rates[top + 1 :]))


def test_the_rise_takes_a_tenth_of_a_short_run():
    assert learning_rate(1.0, 0.05, 1, warmup=1000) == pytest.approx(0.5, abs=0.01)
    assert learning_rate(1.0, 0.10, 2, warmup=1000) > 0.97
    assert learning_rate(1.0, 1.0, 9999, warmup=1000) == pytest.approx(0.01)
