"""Every loss under ``torch.compile``: value and gradient as without it, and the times of both."""

from collections.abc import Iterator

import torch
from torch import Tensor

from mmseg_balance.benchmarking.batches import training_batch
from mmseg_balance.benchmarking.gpu_report.section_file import run_section
from mmseg_balance.benchmarking.losses import our_losses
from mmseg_balance.benchmarking.timing import Case, compare, in_one_line, time_in_turns

SHAPE, DRY_SHAPE = (2, 19, 512, 1024), (1, 4, 16, 16)
DRY_LOSSES = ('SoftDiceLoss',)
LAST = ('LovaszSoftmaxLoss', 'CenterlineDiceLoss')  # a sort, and hundreds of small operations
RANDOM = ('BalancedVariationLoss',)  # compiled and eager code draw other random numbers


def measure(dry_run: bool) -> Iterator[dict]:
    """The table after each loss; the dry run traces (backend ``eager``) instead of compiling."""
    device = 'cpu' if dry_run else 'cuda'
    logits, labels = training_batch(DRY_SHAPE if dry_run else SHAPE, device)
    title = 'torch.compile, ' + ' x '.join(map(str, logits.shape))
    losses = our_losses(labels, logits.shape[1])
    rows = []
    for name in sorted(losses, key=LAST.__contains__):
        loss, _ = losses[name]
        if dry_run and name not in DRY_LOSSES:
            continue
        try:
            rows.append(_row(name, loss.to(device), logits, labels, dry_run))
        except Exception as error:  # one loss that does not compile is a row, not the end
            said = in_one_line(error)
            rows.append({'loss': name, 'same': said, 'eager ms': None, 'compiled ms': None})
        yield dict(title=title, rows=rows)
    if not any(row['same'] == 'yes' for row in rows):
        raise SystemExit(f'no loss agrees with its compiled form: {rows}')


def agree(found: Tensor, expected: Tensor) -> bool:
    """Relative to the largest: a pixel's gradient is 1e-6, a bound of that size would see nothing."""
    largest = expected.abs().max().item()
    return torch.allclose(found, expected, rtol=1e-3, atol=1e-4 * largest)


def _row(name: str, loss: torch.nn.Module, logits: Tensor, labels: Tensor, dry_run: bool) -> dict:
    torch._dynamo.reset()
    compiled = torch.compile(loss, backend='eager' if dry_run else 'inductor')

    def gradient(function) -> tuple[Tensor, Tensor]:
        value = function(logits, labels, ignore_index=255)
        return value.detach(), torch.autograd.grad(value, logits)[0]

    expected, found = gradient(loss), gradient(compiled)
    same = name in RANDOM or all(map(agree, found, expected))
    cases = [
        Case('eager', 'ours', lambda: gradient(loss)),
        Case('compiled', 'ours', lambda: gradient(compiled)),
    ]
    device = logits.device.type
    clock = 'device' if device == 'cuda' else 'wall'
    times = compare(time_in_turns(cases, 1 if dry_run else 5, clock, device=device), 'eager')
    return {
        'loss': name,
        'same': 'yes' if same else 'NO',
        'eager ms': times['eager'].seconds * 1e3,
        'compiled ms': times['compiled'].seconds * 1e3,
    }


if __name__ == '__main__':
    run_section('compiled', measure)
