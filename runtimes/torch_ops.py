"""LinkNet34's layers in PyTorch, over the tensors of a state dict: for training, and to be timed."""

from __future__ import annotations

from pathlib import Path

import torch

F = torch.nn.functional


class TorchOps:
    """See network.linknet34. In training, batch norm takes the batch's statistics and moves the running."""

    def __init__(self, state: dict[str, torch.Tensor], training: bool = False):
        self.state, self.training = state, training

    def conv(self, x, name, channels, kernel, stride=1, padding=0, bias=False):
        return F.conv2d(x, self.state[f"{name}.weight"], self.state.get(f"{name}.bias"), stride, padding)

    def deconv(self, x, name, channels, kernel, padding=0):
        # With the bias inside, oneDNN takes its slow reference code.
        bias = self.state[f"{name}.bias"].view(1, -1, 1, 1)
        return F.conv_transpose2d(x, self.state[f"{name}.weight"], None, 2, padding) + bias

    def norm(self, x, name):
        entries = ("running_mean", "running_var", "weight", "bias")
        return F.batch_norm(x, *(self.state[f"{name}.{each}"] for each in entries), self.training)

    def relu(self, x):
        return F.relu(x, inplace=True)

    def add(self, x, y):
        return x + y

    def pool(self, x):
        return F.max_pool2d(x, 3, 2, 1)


def has_bf16() -> bool:
    """Return whether Linux says that the processor has bf16 instructions, of AVX-512 or AMX."""
    flags = Path("/proc/cpuinfo").read_text().split()
    return "avx512_bf16" in flags or "amx_bf16" in flags
