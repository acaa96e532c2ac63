"""PyTorch twins of the ResNets: torchvision's for ImageNet, He et al. 2015 section 4.2 for CIFAR-10."""

from kerasref.pytorch.installed import nn, torch


def conv(inputs, outputs, kernel, stride=1):
    """Padded so that stride 1 keeps the size; no bias, since batch norm follows."""
    return nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions (He et al. 2015, figure 5 left); without a shortcut where `downsample` is None."""

    expansion = 1

    def __init__(self, inputs, width, stride, downsample):
        super().__init__()
        self.conv1 = conv(inputs, width, 3, stride)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = conv(width, width, 3)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = downsample

    def forward(self, x):
        y = torch.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return torch.relu(y if self.downsample is None else y + self.downsample(x))


class Bottleneck(nn.Module):
    """1x1, 3x3 with the stride, 1x1 to four times the width (figure 5 right; the stride as torchvision's "v1.5")."""

    expansion = 4

    def __init__(self, inputs, width, stride, downsample):
        super().__init__()
        self.conv1 = conv(inputs, width, 1)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = conv(width, width, 3, stride)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = conv(width, 4 * width, 1)
        self.bn3 = nn.BatchNorm2d(4 * width)
        self.downsample = downsample

    def forward(self, x):
        y = torch.relu(self.bn1(self.conv1(x)))
        y = torch.relu(self.bn2(self.conv2(y)))
        return torch.relu(self.bn3(self.conv3(y)) + self.downsample(x))


class PadShortcut(nn.Module):
    """Shortcut A: every second pixel, the new channels zero; no parameters (He et al. 2015, 3.3)."""

    def __init__(self, new_channels, stride):
        super().__init__()
        self.new_channels, self.stride = new_channels, stride

    def forward(self, x):
        x = x[:, :, :: self.stride, :: self.stride]
        return nn.functional.pad(x, (0, 0, 0, 0, 0, self.new_channels))


def projection(inputs, outputs, stride):
    """Shortcut B: a strided 1x1 convolution with batch norm."""
    return nn.Sequential(conv(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))


def stage(block, inputs, width, blocks, stride, shortcut="B"):
    """`blocks` residual blocks; the first has the stride and, where the shape changes, the shortcut."""
    outputs = width * block.expansion
    if shortcut is None:
        first, rest = None, None
    elif stride == 1 and inputs == outputs:
        first, rest = nn.Identity(), nn.Identity()
    elif shortcut == "A":
        first, rest = PadShortcut(outputs - inputs, stride), nn.Identity()
    else:
        first, rest = projection(inputs, outputs, stride), nn.Identity()
    chain = [block(inputs, width, stride, first)]
    return nn.Sequential(*chain, *(block(outputs, width, 1, rest) for _ in range(blocks - 1)))


RESNETS = {  # block and its number in each of the four stages (He et al. 2015, table 1)
    "resnet18": (BasicBlock, (2, 2, 2, 2)),
    "resnet34": (BasicBlock, (3, 4, 6, 3)),
    "resnet50": (Bottleneck, (3, 4, 6, 3)),
    "resnet101": (Bottleneck, (3, 4, 23, 3)),
    "resnet152": (Bottleneck, (3, 8, 36, 3)),
}
CIFAR_DEPTHS = {  # 6n + 2 layers; whether it has shortcuts (section 4.2)
    **{f"resnet{depth}": (depth, True) for depth in (20, 32, 44, 56, 110)},
    **{f"plain{depth}": (depth, False) for depth in (20, 56)},
}


def resnet(block, blocks, num_classes, small_pictures=False):
    """torchvision's ResNet; parameter names alike. For small pictures conv1 is 3x3 and nothing is pooled behind it."""
    network = nn.Sequential()
    kernel, stride = (3, 1) if small_pictures else (7, 2)
    network.conv1 = nn.LazyConv2d(64, kernel, stride=stride, padding=kernel // 2, bias=False)  # 64x112x112
    network.bn1 = nn.BatchNorm2d(64)
    network.relu = nn.ReLU()
    if not small_pictures:
        network.maxpool = nn.MaxPool2d(3, stride=2, padding=1)  # 64x56x56
    network.layer1 = stage(block, 64, 64, blocks[0], stride=1)
    network.layer2 = stage(block, 64 * block.expansion, 128, blocks[1], stride=2)  # 28x28
    network.layer3 = stage(block, 128 * block.expansion, 256, blocks[2], stride=2)  # 14x14
    network.layer4 = stage(block, 256 * block.expansion, 512, blocks[3], stride=2)  # 7x7
    network.avgpool = nn.AdaptiveAvgPool2d(1)
    network.flatten = nn.Flatten()
    network.fc = nn.Linear(512 * block.expansion, num_classes)
    return network


def cifar_resnet(depth, residual, num_classes, shortcut="A"):
    """6n + 2 layers of 16, 32 and 64 filters; `residual=False` gives the plain network of the same depth."""
    n = (depth - 2) // 6
    shortcut = shortcut if residual else None
    network = nn.Sequential()
    network.conv1 = nn.LazyConv2d(16, 3, padding=1, bias=False)  # 16x32x32
    network.bn1 = nn.BatchNorm2d(16)
    network.relu = nn.ReLU()
    network.layer1 = stage(BasicBlock, 16, 16, n, stride=1, shortcut=shortcut)
    network.layer2 = stage(BasicBlock, 16, 32, n, stride=2, shortcut=shortcut)  # 32x16x16
    network.layer3 = stage(BasicBlock, 32, 64, n, stride=2, shortcut=shortcut)  # 64x8x8
    network.avgpool = nn.AdaptiveAvgPool2d(1)
    network.flatten = nn.Flatten()
    network.fc = nn.Linear(64, num_classes)
    return network
