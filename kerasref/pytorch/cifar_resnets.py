"""PyTorch twins of the ResNets for CIFAR-10 (He et al. 2015, section 4.2), of torchvision's own blocks."""

from kerasref.errors import unknown
from kerasref.pytorch.installed import import_torchvision, nn


class NoShortcut(nn.Module):
    """A shortcut that adds nothing, of the plain networks."""

    def forward(self, x):
        return 0.0


class PadShortcut(nn.Module):
    """Shortcut A: every second pixel, and new channels of zeros, (before, behind) the others; no parameters (3.3)."""

    def __init__(self, zeros, stride):
        super().__init__()
        self.zeros, self.stride = zeros, stride

    def forward(self, x):
        return nn.functional.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, *self.zeros))


def _shortcut(kind, inputs, outputs, stride):
    """Where a stage begins: A or A_around pads with zero channels, B projects by a 1x1 convolution."""
    new = outputs - inputs
    if kind in ("A", "A_around"):
        before = new // 2 if kind == "A_around" else 0
        return PadShortcut((before, new - before), stride)
    if kind == "B":
        return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
    raise unknown("shortcut", kind, ("A", "A_around", "B"))


def _stage(inputs, width, blocks, stride, shortcut):
    """`blocks` residual blocks; the first has the stride and, where the shape changes, the shortcut."""
    block = import_torchvision().models.resnet.BasicBlock
    other = None if shortcut else NoShortcut()  # None: the block's input as it is
    first = _shortcut(shortcut, inputs, width, stride) if shortcut and stride > 1 else other
    return nn.Sequential(
        block(inputs, width, stride, first), *(block(width, width, 1, other) for _ in range(blocks - 1))
    )


def cifar_resnet(n, num_classes, shortcut="A"):
    """Stages of n blocks with 16, 32 and 64 filters; without a shortcut the plain network of the same depth."""
    network = nn.Sequential()
    network.conv1 = nn.LazyConv2d(16, 3, padding=1, bias=False)  # 16x32x32
    network.bn1 = nn.BatchNorm2d(16)
    network.relu = nn.ReLU()
    network.layer1 = _stage(16, 16, n, stride=1, shortcut=shortcut)
    network.layer2 = _stage(16, 32, n, stride=2, shortcut=shortcut)  # 32x16x16
    network.layer3 = _stage(32, 64, n, stride=2, shortcut=shortcut)  # 64x8x8
    network.avgpool = nn.AdaptiveAvgPool2d(1)
    network.flatten = nn.Flatten()
    network.fc = nn.Linear(64, num_classes)
    return network
