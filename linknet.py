"""LinkNet34: the encoder of ResNet34 and the decoder of LinkNet.

    from linknet import LinkNet34
    logits = LinkNet34()(images)  # (N, 3, H, W) normalised RGB -> (N, 1, H, W)

See Chaurasia and Culurciello, "LinkNet: Exploiting Encoder Representations for Efficient Semantic
Segmentation", VCIP 2017, and He et al., "Deep Residual Learning for Image Recognition", CVPR 2016. The 306
state-dict entries have the names and shapes of the published checkpoint.
"""

from utils import check_shape, import_oneflow

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


class DecoderBlock(nn.Module):
    """1x1 to a quarter of the channels, a transposed 4x4 that doubles the sides, 1x1 to the wanted channels.

    (N, C_in, H, W) -> (N, C_out, 2H, 2W)
    """

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        middle = in_channels // 4
        self.conv1 = nn.Conv2d(in_channels, middle, 1)
        self.norm1 = nn.BatchNorm2d(middle)
        self.deconv2 = nn.ConvTranspose2d(middle, middle, 4, stride=2, padding=1)
        self.norm2 = nn.BatchNorm2d(middle)
        self.conv3 = nn.Conv2d(middle, out_channels, 1)
        self.norm3 = nn.BatchNorm2d(out_channels)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: flow.Tensor) -> flow.Tensor:
        x = self.relu(self.norm1(self.conv1(x)))
        x = self.relu(self.norm2(self.deconv2(x)))
        return self.relu(self.norm3(self.conv3(x)))


class LinkNet34(nn.Module):
    """The network.

    `forward` takes (N, 3, H, W) float32 RGB, normalised as `utils.preprocess` does, with H and W multiples
    of 32, and returns (N, 1, H, W) logits: above 0 is face. With `num_classes` above 1 it returns
    (N, num_classes, H, W) log-probabilities. It raises ValueError for any other size.
    """

    def __init__(self, num_classes: int = 1):
        super().__init__()
        if num_classes < 1:
            raise ValueError(f"num_classes is {num_classes}; it must be at least 1")
        self.num_classes = num_classes
        self.firstconv = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.firstbn = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.firstmaxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.encoder1 = make_layer(64, 64, blocks=3, stride=1)
        self.encoder2 = make_layer(64, 128, blocks=4, stride=2)
        self.encoder3 = make_layer(128, 256, blocks=6, stride=2)
        self.encoder4 = make_layer(256, 512, blocks=3, stride=2)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        self.decoder4 = DecoderBlock(512, 256)
        self.decoder3 = DecoderBlock(256, 128)
        self.decoder2 = DecoderBlock(128, 64)
        self.decoder1 = DecoderBlock(64, 64)
        self.finaldeconv1 = nn.ConvTranspose2d(64, 32, 3, stride=2)
        self.finalconv2 = nn.Conv2d(32, 32, 3)
        self.finalconv3 = nn.Conv2d(32, num_classes, 2, padding=1)

    def forward(self, x: flow.Tensor) -> flow.Tensor:
        check_shape(x.shape)
        x = self.firstmaxpool(self.relu(self.firstbn(self.firstconv(x))))
        e1 = self.encoder1(x)  # 64 channels, H/4
        e2 = self.encoder2(e1)  # 128, H/8
        e3 = self.encoder3(e2)  # 256, H/16
        e4 = self.encoder4(e3)  # 512, H/32

        d4 = self.decoder4(e4) + e3
        d3 = self.decoder3(d4) + e2
        d2 = self.decoder2(d3) + e1
        d1 = self.decoder1(d2)  # 64, H/2

        x = self.relu(self.finaldeconv1(d1))  # 32, H+1
        x = self.relu(self.finalconv2(x))  # 32, H-1
        x = self.finalconv3(x)  # num_classes, H
        return x if self.num_classes == 1 else flow.log_softmax(x, dim=1)
