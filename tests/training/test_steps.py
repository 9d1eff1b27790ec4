"""The optimisation step: eager and compiled do the same, the schedule is what it says."""

import math

import numpy as np
import pytest

from linknet import LinkNet34
from quiet import flow
from training.steps import EagerStep, GraphStep, make_optimizer, make_schedule


def batches(count, size=32, seed=0):
    rng = np.random.default_rng(seed)
    for _ in range(count):
        image = rng.standard_normal((2, 3, size, size)).astype(np.float32)
        mask = rng.choice([0, 128, 255], (2, 1, size, size)).astype(np.uint8)
        yield flow.tensor(image), flow.tensor(mask)


def build(kind, name="adamw", total=40, clip=2.0, weight_decay=0.05):
    flow.manual_seed(0)
    model = LinkNet34()
    optimizer = make_optimizer(model, name, lr=1e-3, weight_decay=weight_decay, clip=clip)
    schedule = make_schedule(optimizer, total, warmup=3)
    if kind == "graph":
        return model, GraphStep(model, optimizer, schedule, 1.0, mixed_precision=False)
    return model, EagerStep(model, optimizer, schedule, 1.0)


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_graph_equals_eager(name):
    (_, eager), (_, graph) = build("eager", name), build("graph", name)
    losses = []
    for image, mask in batches(5, size=64):
        (loss, logits), (graph_loss, graph_logits) = eager(image, mask), graph(image, mask)
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
        step(image, mask)
    weights = {name: flow.tensor(tensor.numpy().copy()) for name, tensor in model.state_dict().items()}
    arrays = step.state_arrays()
    continued = [float(step(image, mask)[0].numpy()) for image, mask in batches(3, seed=1)]

    model, step = build(kind)
    model.load_state_dict(weights)
    step.load_state_arrays(arrays, 3)
    resumed = [float(step(image, mask)[0].numpy()) for image, mask in batches(3, seed=1)]
    assert resumed == continued


def test_gradient_is_clipped():
    moved = {}
    for clip in (0.01, 1e6):
        model, step = build("eager", "sgd", clip=clip, weight_decay=0.0)
        before = model.firstconv.weight.numpy().copy()
        step(*next(iter(batches(1))))
        moved[clip] = np.linalg.norm(model.firstconv.weight.numpy() - before)
    first_rate = 1e-3 / 3
    assert 0 < moved[0.01] < 1.2 * first_rate * 0.01 < moved[1e6] / 3


def test_schedule_rises_once_and_falls_along_one_cosine_over_the_whole_run():
    optimizer = flow.optim.SGD([flow.nn.Parameter(flow.zeros(2))], lr=0.5)
    schedule = make_schedule(optimizer, total_steps=100, warmup=8)
    rates = []
    for _ in range(100):
        rates.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    assert rates[0] == pytest.approx(0.5 / 8)
    top = int(np.argmax(rates))
    assert top == 8
    assert all(a < b for a, b in zip(rates[:top], rates[1:top]))
    expected = [0.5 * (0.01 + 0.99 * (1 + math.cos(math.pi * s / 100)) / 2) for s in range(8, 100)]
    assert rates[8:] == pytest.approx(expected)
    assert all(a > b for a, b in zip(rates[top:], rates[top + 1 :]))
