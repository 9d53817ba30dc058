"""The embedded source's architecture: seven blocks, 170k parameters, 32 x 32 grey in."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

CHANNELS = (16, 24, 24, 48, 48, 64, 64)  # out of block1..block7
ARCHITECTURE = f"glyphs-1 {CHANNELS}"  # part of the fingerprint: raise the number with any change


class ConvBlock(nn.Module):
    """3 x 3 convolution, norm, ReLU."""

    def __init__(self, c_in: int, c_out: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(c_in, c_out, 3, stride=stride, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(c_out)
        self.relu = nn.ReLU()

    def forward(self, x_bchw: Tensor) -> Tensor:
        """[B, c_in, H, W] to [B, c_out, H / stride, W / stride]."""
        out: Tensor = self.relu(self.norm(self.conv(x_bchw)))
        return out


class ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions added to their input (He et al. 2016)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels)

    def forward(self, x_bchw: Tensor) -> Tensor:
        """[B, C, H, W] to the same shape."""
        inner = F.relu(self.norm1(self.conv1(x_bchw)))
        return F.relu(x_bchw + self.norm2(self.conv2(inner)))


class GlyphNetwork(nn.Module):
    """Grey images [B, 1, 32, 32] to the logits of ``n_classes`` letters [B, n_classes]."""

    def __init__(self, n_classes: int = 26) -> None:
        super().__init__()
        c1, c2, c3, c4, c5, c6, c7 = CHANNELS
        self.block1 = ConvBlock(1, c1)
        self.block2 = ConvBlock(c1, c2, stride=2)
        self.block3 = ResidualBlock(c3)
        self.block4 = ConvBlock(c3, c4, stride=2)
        self.block5 = ResidualBlock(c5)
        self.block6 = ConvBlock(c5, c6, stride=2)
        self.block7 = ResidualBlock(c7)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.classifier = nn.Linear(c7, n_classes)

    def forward(self, x_bchw: Tensor) -> Tensor:
        """[B, 1, H, W] to logits [B, n_classes]."""
        x_bchw = self.block1(x_bchw)
        x_bchw = self.block2(x_bchw)
        x_bchw = self.block3(x_bchw)
        x_bchw = self.block4(x_bchw)
        x_bchw = self.block5(x_bchw)
        x_bchw = self.block6(x_bchw)
        x_bchw = self.block7(x_bchw)
        logits: Tensor = self.classifier(self.flatten(self.pool(x_bchw)))
        return logits
