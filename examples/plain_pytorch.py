"""The losses and calibration sums in plain PyTorch: no MMSegmentation, no MMEngine, no OpenCV.

    pip install -e . pillow                             # in a clone
    python examples/plain_pytorch.py                    # noise with a rare class
    python examples/plain_pytorch.py data/street_scenes # the data set that make quickstart renders

Trains a small U-Net with cross entropy and soft Dice, then prints IoU and calibration.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from mmseg_balance.functional import (
    calibration_scores,
    calibration_sums,
    confusion_matrix,
    soft_dice_loss,
)


def block(inputs: int, outputs: int) -> nn.Module:
    """Two convolutions, each with batch norm and ReLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
        nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


class UNet(nn.Module):
    """A U-Net of three levels (Ronneberger et al. 2015), padded so that sizes agree."""

    def __init__(self, num_classes: int, width: int = 16) -> None:
        super().__init__()
        self.top = block(3, width)
        self.middle = block(width, 2 * width)
        self.bottom = block(2 * width, 4 * width)
        self.up_middle = block(6 * width, 2 * width)
        self.up_top = block(3 * width, width)
        self.classifier = nn.Conv2d(width, num_classes, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Images ``(N, 3, H, W)`` to logits ``(N, C, H, W)``."""
        top = self.top(images)
        middle = self.middle(F.max_pool2d(top, 2))
        bottom = self.bottom(F.max_pool2d(middle, 2))
        middle = self.up_middle(torch.cat([F.interpolate(bottom, middle.shape[2:]), middle], 1))
        top = self.up_top(torch.cat([F.interpolate(middle, top.shape[2:]), top], 1))
        return self.classifier(top)


def read_batches(root: Path, split: str, size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Images of one size in ``root/images/SPLIT``, label maps of the same stems in ``root/labels/SPLIT``."""
    paths = sorted((root / 'images' / split).iterdir())
    for start in range(0, len(paths) - size + 1, size):
        chosen = paths[start : start + size]
        labels = [root / 'labels' / split / f'{path.stem}.png' for path in chosen]
        images = np.stack([np.asarray(Image.open(path).convert('RGB')) for path in chosen])
        yield (
            torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255,
            torch.from_numpy(np.stack([np.asarray(Image.open(path)) for path in labels])).long(),
        )


def random_batches(count: int, size: int, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Three classes: noise, large squares, and a spot of four pixels in every image."""
    generator = torch.Generator().manual_seed(seed)
    for _ in range(count):
        labels = torch.zeros(size, 64, 64, dtype=torch.long)
        for image in labels:
            y, x, v, u = torch.randint(0, 40, (4,), generator=generator).tolist()
            image[y : y + 24, x : x + 24] = 1
            image[v : v + 2, u : u + 2] = 2
        noise = torch.rand(size, 3, 64, 64, generator=generator)
        yield noise + F.one_hot(labels, 3).permute(0, 3, 1, 2), labels


def main() -> None:
    """Train and evaluate."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        'root', nargs='?', type=Path, help='folder with {images,labels}/{train,val}/'
    )
    parser.add_argument('--classes', type=int, help='number of classes in the folder (default: 10)')
    parser.add_argument('--epochs', type=int, default=5, help='passes over the training images')
    parser.add_argument('--batch-size', type=int, default=4, help='images per step')
    args = parser.parse_args()
    num_classes = (args.classes or 10) if args.root else 3

    def batches(split: str) -> Iterator[tuple[Tensor, Tensor]]:
        if args.root:
            return read_batches(args.root, split, args.batch_size)
        return random_batches(20, args.batch_size, seed=int(split == 'val'))

    torch.manual_seed(0)
    model = UNet(num_classes)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for epoch in range(args.epochs):
        for images, labels in batches('train'):
            logits = model(images)
            cross_entropy = F.cross_entropy(logits, labels, ignore_index=255)
            loss = cross_entropy + soft_dice_loss(logits, labels, ignore_index=255)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        print(f'epoch {epoch + 1}: loss {loss.item():.3f}')

    model.eval()
    confusion, calibration = 0, []
    with torch.no_grad():
        for images, labels in batches('val'):
            logits = model(images)
            confusion += confusion_matrix(logits.argmax(1), labels, num_classes)
            calibration.append(calibration_sums(logits, labels))  # a few numbers, not pixels
    hits = confusion.diag()
    iou = hits / (confusion.sum(0) + confusion.sum(1) - hits)
    total = calibration[0]
    for sums in calibration[1:]:
        total += sums
    print('IoU per class:', ' '.join(f'{100 * value:.1f}' for value in iou.tolist()))
    scores = calibration_scores(total)
    print('calibration:', ', '.join(f'{name} {value:.4f}' for name, value in scores.items()))


if __name__ == '__main__':
    main()
