"""LinkNet34: a ResNet34 encoder and the LinkNet decoder.

    from linknet import LinkNet34
    logits = LinkNet34()(images)  # (N, 3, H, W) normalised RGB -> (N, 1, H, W)

The network is that of Chaurasia and Culurciello, "LinkNet: Exploiting Encoder Representations for
Efficient Semantic Segmentation", VCIP 2017, on ResNet34. Its 306 state-dict entries have the names and
shapes of the published checkpoint.
"""

from resnet import ResNet34
from utils import check_shape, import_oneflow

flow = import_oneflow()

nn = flow.nn


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
        resnet = ResNet34()
        self.firstconv = resnet.conv1
        self.firstbn = resnet.bn1
        self.relu = resnet.relu
        self.firstmaxpool = resnet.maxpool
        self.encoder1 = resnet.layer1
        self.encoder2 = resnet.layer2
        self.encoder3 = resnet.layer3
        self.encoder4 = resnet.layer4
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
