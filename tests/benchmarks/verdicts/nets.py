"""Networks of one's own for ``source=module``, and a text encoder that nobody trained."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class _Block(nn.Module):
    """A residual block whose shortcut has no weights (He et al. 2016, option A)."""

    def __init__(self, below: int, own: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(below, own, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(own)
        self.conv2 = nn.Conv2d(own, own, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(own)
        self.stride, self.new = stride, (own - below) // 2

    def forward(self, x: Tensor) -> Tensor:
        z = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.stride > 1:
            x = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.new, self.new))
        return F.relu(z + x)


class _CifarResNet(nn.Module):
    def __init__(self, each: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        widths = (16, 16, 32, 64)
        for stage in (1, 2, 3):
            first = _Block(widths[stage - 1], widths[stage], 1 if stage == 1 else 2)
            others = [_Block(widths[stage], widths[stage], 1) for _ in range(each - 1)]
            setattr(self, f"layer{stage}", nn.Sequential(first, *others))
        self.linear = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        z = F.relu(self.bn1(self.conv1(x)))
        return self.linear(self.layer3(self.layer2(self.layer1(z))).mean((2, 3)))


def cifar_resnet20() -> nn.Module:
    """For the published weights of CIFAR-10 (Idelbayev 2018)."""
    return _CifarResNet(3)


def small() -> nn.Module:
    """Four convolutions for small grey images."""
    layers: list[nn.Module] = []
    for place, (below, own) in enumerate(((1, 16), (16, 32), (32, 64), (64, 64)), start=1):
        convolution = nn.Conv2d(below, own, 3, 2 if place in (2, 4) else 1, 1, bias=False)
        layers.append(nn.Sequential(convolution, nn.BatchNorm2d(own), nn.ReLU()))
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


def write_encoder(folder: Path, texts: list[str], words: int = 4000) -> Path:
    """A BERT of four small layers with random weights; its tokenizer is fitted to the texts."""
    from tokenizers import BertWordPieceTokenizer
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = BertWordPieceTokenizer(lowercase=True)
    tokenizer.train_from_iterator(texts, vocab_size=words, min_frequency=2)
    tokenizer.save(str(folder / "tokenizer.json"))
    BertTokenizerFast(tokenizer_file=str(folder / "tokenizer.json")).save_pretrained(folder)
    config = BertConfig(
        vocab_size=tokenizer.get_vocab_size(), hidden_size=128, num_hidden_layers=4,
        num_attention_heads=4, intermediate_size=256, max_position_embeddings=64,
    )  # fmt: skip
    torch.manual_seed(0)
    BertModel(config).save_pretrained(folder)
    return folder
