"""LinkNet34's computation in PyTorch, over the tensors of a state dict.

    from runtimes.torch_network import network
    logits = network({name: torch.from_numpy(array) for name, array in state.items()}, images)

The second way to compute linknet.LinkNet34, without OneFlow: torch_kernels.py trains with it, bench.py times
it.
"""

from __future__ import annotations

import torch

F = torch.nn.functional


def network(t: dict, x: torch.Tensor, training: bool = False) -> torch.Tensor:
    """(N, 3, H, W) normalised RGB, H and W multiples of 32 -> (N, 1, H, W) logits.

    t: the state dict. In training, batch norm takes the batch's statistics, and moves the running ones in t.
    """

    def conv(x, name, stride=1, padding=0):
        return F.conv2d(x, t[f"{name}.weight"], t.get(f"{name}.bias"), stride, padding)

    def deconv(x, name, padding=0):
        # With the bias inside, oneDNN takes its slow reference code.
        bias = t[f"{name}.bias"].view(1, -1, 1, 1)
        return F.conv_transpose2d(x, t[f"{name}.weight"], None, 2, padding) + bias

    def norm(x, name):
        statistics = t[f"{name}.running_mean"], t[f"{name}.running_var"]
        return F.batch_norm(x, *statistics, t[f"{name}.weight"], t[f"{name}.bias"], training)

    def relu(x):
        return F.relu(x, inplace=True)

    def basic_block(x, name, stride):
        shortcut = x
        if f"{name}.downsample.0.weight" in t:
            shortcut = norm(conv(x, f"{name}.downsample.0", stride), f"{name}.downsample.1")
        x = relu(norm(conv(x, f"{name}.conv1", stride, 1), f"{name}.bn1"))
        return relu(norm(conv(x, f"{name}.conv2", 1, 1), f"{name}.bn2") + shortcut)

    def stage(x, name, blocks, stride):
        for index in range(blocks):
            x = basic_block(x, f"{name}.{index}", stride if index == 0 else 1)
        return x

    def decoder(x, name):
        x = relu(norm(conv(x, f"{name}.conv1"), f"{name}.norm1"))
        x = relu(norm(deconv(x, f"{name}.deconv2", 1), f"{name}.norm2"))
        return relu(norm(conv(x, f"{name}.conv3"), f"{name}.norm3"))

    x = F.max_pool2d(relu(norm(conv(x, "firstconv", 2, 3), "firstbn")), 3, 2, 1)
    e1 = stage(x, "encoder1", 3, 1)
    e2 = stage(e1, "encoder2", 4, 2)
    e3 = stage(e2, "encoder3", 6, 2)
    e4 = stage(e3, "encoder4", 3, 2)
    d4 = decoder(e4, "decoder4") + e3
    d3 = decoder(d4, "decoder3") + e2
    d2 = decoder(d3, "decoder2") + e1
    x = relu(deconv(decoder(d2, "decoder1"), "finaldeconv1"))
    x = relu(conv(x, "finalconv2"))
    return conv(x, "finalconv3", 1, 1)
