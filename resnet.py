"""The ResNet34 encoder (He et al., "Deep Residual Learning for Image Recognition", CVPR 2016).

    from resnet import ResNet34
    features = ResNet34()  # without the pooling and the classifier, which segmentation does not use

The names of its parameters are those of every published ResNet34 (`conv1 bn1 layer1 .. layer4`), so a
backbone checkpoint loads once its classifier `fc` has been dropped.
"""

from utils import import_oneflow

flow = import_oneflow()

nn = flow.nn


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut: (N, C_in, H, W) -> (N, C_out, H / stride, W / stride)."""

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = None
        if stride != 1 or in_channels != out_channels:
            self.downsample = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride, bias=False),
                nn.BatchNorm2d(out_channels),
            )

    def forward(self, x: flow.Tensor) -> flow.Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.bn2(self.conv2(x))
        return self.relu(x + shortcut)


def make_layer(in_channels: int, out_channels: int, blocks: int, stride: int) -> nn.Sequential:
    """Return a stage of `blocks` basic blocks, the first with the stride."""
    first = BasicBlock(in_channels, out_channels, stride)
    return nn.Sequential(first, *(BasicBlock(out_channels, out_channels) for _ in range(blocks - 1)))


class ResNet34(nn.Module):
    """The convolutional part of ResNet34.

    `forward` takes (N, 3, H, W) and returns the maps of the four stages, from fine to coarse:
    64 channels at H/4, 128 at H/8, 256 at H/16, 512 at H/32.
    """

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1 = make_layer(64, 64, blocks=3, stride=1)
        self.layer2 = make_layer(64, 128, blocks=4, stride=2)
        self.layer3 = make_layer(128, 256, blocks=6, stride=2)
        self.layer4 = make_layer(256, 512, blocks=3, stride=2)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: flow.Tensor) -> tuple:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        stage1 = self.layer1(x)
        stage2 = self.layer2(stage1)
        stage3 = self.layer3(stage2)
        stage4 = self.layer4(stage3)
        return stage1, stage2, stage3, stage4
