"""LinkNet34 computed by PyTorch's kernels, for training on a CPU: the same network, several times as fast.

OneFlow's convolutions on a CPU copy every input once for each place in the kernel; PyTorch's (oneDNN) do not.
Parameters, loss, optimizer, schedule and checkpoints stay OneFlow's.
"""

from __future__ import annotations

from utils import UserError, check_shape

try:
    import torch
except ImportError as error:
    remedy = "`bash tools/setup.sh torch` installs it"
    raise UserError(f"--kernels torch needs PyTorch ({error}): {remedy}") from error

from linknet import LinkNet34
from runtimes.network import linknet34
from runtimes.torch_ops import TorchOps, has_bf16
from utils import import_oneflow

flow = import_oneflow()


class TorchLinkNet34(LinkNet34):
    """LinkNet34 whose forward and backward PyTorch computes on the CPU; `forward` as in linknet.LinkNet34.

    With `mixed_precision`, training computes convolutions in bfloat16 where the processor has instructions
    for it; evaluation mode is float32 always.
    """

    def __init__(self, mixed_precision: bool = True):
        super().__init__()
        self.mixed_precision = mixed_precision and has_bf16()

    def forward(self, x: flow.Tensor) -> flow.Tensor:
        check_shape(x.shape)
        names, parameters = zip(*self.named_parameters())
        buffers = dict(self.named_buffers())
        learning = flow.is_grad_enabled()

        class Computed(flow.autograd.Function):
            @staticmethod
            def forward(context, image, *values):
                tensors = {name: to_torch(value) for name, value in zip(names, values)}
                statistics = {name: to_torch(value).clone() for name, value in buffers.items()}
                for tensor in tensors.values():
                    tensor.requires_grad_(learning)
                mixed = self.training and self.mixed_precision
                with torch.set_grad_enabled(learning), torch.autocast("cpu", torch.bfloat16, enabled=mixed):
                    ops = TorchOps({**tensors, **statistics}, self.training)
                    # oneDNN is faster in this memory order; it reorders the weights itself.
                    x = to_torch(image).contiguous(memory_format=torch.channels_last)
                    logits = linknet34(ops, x).float()
                if self.training:
                    for name, buffer in buffers.items():
                        if name.endswith("num_batches_tracked"):
                            buffer.add_(1)
                        else:
                            buffer.copy_(flow.from_numpy(statistics[name].numpy()))
                context.graph = logits, list(tensors.values())
                return to_oneflow(logits.detach())

            @staticmethod
            def backward(context, gradient):
                logits, tensors = context.graph
                context.graph = None  # frees its memory at the end of this step
                gradients = torch.autograd.grad(logits, tensors, to_torch(gradient))
                return (None, *(to_oneflow(g) for g in gradients))

        return Computed.apply(x, *parameters)


def to_torch(tensor: flow.Tensor) -> torch.Tensor:
    """Return a tensor that shares its memory."""
    return torch.from_numpy(tensor.numpy())


def to_oneflow(tensor: torch.Tensor) -> flow.Tensor:
    return flow.from_numpy(tensor.contiguous().numpy())
