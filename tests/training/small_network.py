"""A network of three layers in the place of LinkNet34, for tests of what is the same for every network."""

from utils import import_oneflow

flow = import_oneflow()


class SmallNetwork(flow.nn.Module):
    """(N, 3, H, W) -> (N, 1, H, W) logits, in milliseconds."""

    def __init__(self):
        super().__init__()
        self.firstconv = flow.nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.norm = flow.nn.BatchNorm2d(8)
        self.last = flow.nn.Conv2d(8, 1, 3, padding=1)

    def forward(self, x):
        return self.last(flow.relu(self.norm(self.firstconv(x))))
