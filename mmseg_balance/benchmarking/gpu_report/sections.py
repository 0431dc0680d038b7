"""What the report consists of: each section is one command with a time limit.

A section writes its tables to a JSON file in the format of :mod:`mmseg_balance.benchmarking.record`
(or, a test run, pytest's XML). The order is that of worth, since the last ones have what is left
of the time.
"""

import importlib.util
import os
import sys
from dataclasses import dataclass
from pathlib import Path

PACKAGE = 'mmseg_balance.benchmarking.gpu_report'
PYTHON = sys.executable


@dataclass(frozen=True)
class Section:
    """A part of the report.

    Args:
        name: of its files.
        title: in the page.
        command: what is run, in the root of the repository.
        seconds: at most.
        output: the file that the command writes.
    """

    name: str
    title: str
    command: list[str]
    seconds: float
    output: Path


def all_sections(out: Path, dry_run: bool, gpus: int) -> list[Section]:
    """The sections, on a GPU or as a dry run on a CPU with small shapes.

    Example:
        >>> [section.name for section in all_sections(Path('out'), False, gpus=1)][:3]
        ['losses', 'kernel_tests', 'low_resolution']
        >>> [section.name for section in all_sections(Path('out'), False, gpus=2)][-2:]
        ['collectives_1', 'collectives_2']
    """
    ranks = (1, 2) if gpus > 1 and not dry_run else (1,)
    return [
        _losses('losses', 'Losses', out, dry_run, [], 120),
        _tests(
            'kernel_tests',
            'Kernel tests',
            out,
            [
                'tests/functional/test_triton_primitives.py',
                'tests/functional/test_triton_max_pooling.py',
                'tests/losses/test_host_synchronisation.py',
                '-k',
                'sums_by_label and 19' if dry_run else 'not compile_to_machine_code',
            ],
            150,
        ),
        _losses(
            'low_resolution',
            'Losses of logits of low resolution',
            out,
            dry_run,
            ['--low-resolution', '4', '--only', 'Loss'],
            60,
            [(4, 150, 512, 512)],
        ),
        _losses(
            'losses_float16',
            'Losses in float16',
            out,
            dry_run,
            ['--dtype', 'float16', '--only', 'Loss'],
            60,
            [(2, 19, 512, 1024), (4, 150, 512, 512)],
        ),
        _own('step_time', 'Steps of DeepLabV3-R50', out, dry_run, 90),
        _own('curves', 'Loss curves of the backends', out, dry_run, 90),
        _tests(
            'half_precision',
            'Training in float16 (AMP)',
            out,
            ['tests/losses/test_half_precision.py', '-k', 'float16_follows and not bfloat16'],
            60,
        ),
        _own('compiled', 'torch.compile', out, dry_run, 90),
        _metric(out, dry_run),
        *(_collectives(out, dry_run, count) for count in ranks),
    ]


def _device(dry_run: bool) -> str:
    return 'cpu' if dry_run else 'cuda'


def _shapes(shapes: list[tuple[int, ...]]) -> list[str]:
    return [part for shape in shapes for part in ('--shape', *map(str, shape))]


def _losses(
    name: str,
    title: str,
    out: Path,
    dry_run: bool,
    options: list[str],
    seconds: float,
    shapes: list[tuple[int, ...]] = (),
) -> Section:
    """``mmseg-balance benchmark losses``; at the four usual shapes unless others are given."""
    output = out / f'{name}.json'
    if dry_run:  # an interpreted kernel takes a second
        shapes = [(1, 4, 16, 16)]
        options = [*options, '--only', 'WeightedCrossEntropyLoss', 'SoftDiceLoss']
    call = ['-m', 'mmseg_balance', 'benchmark', 'losses', '--device', _device(dry_run), '--repeat']
    call += ['1' if dry_run else '5', *options, *_shapes(shapes), '--json', str(output)]
    return Section(name, title, [PYTHON, *call], seconds, output)


def _metric(out: Path, dry_run: bool) -> Section:
    output = out / 'metric.json'
    call = ['-m', 'mmseg_balance', 'benchmark', 'metric', '--device', _device(dry_run), '--repeat']
    call += ['1' if dry_run else '5', *_shapes([(4, 16, 16)] if dry_run else [])]
    call += ['--json', str(output)]
    return Section('metric', 'Calibration metric', [PYTHON, *call], 30, output)


def _tests(name: str, title: str, out: Path, options: list[str], seconds: float) -> Section:
    """A run of pytest, on several processes where there is pytest-xdist, since kernels compile."""
    output = out / f'{name}.xml'
    call = ['-m', 'pytest', '-q', f'--junitxml={output}', *options]
    if importlib.util.find_spec('xdist') and name == 'kernel_tests' and '19' not in options[-1]:
        call += ['-n', str(min(12, os.cpu_count() or 1))]
    return Section(name, title, [PYTHON, *call], seconds, output)


def _own(name: str, title: str, out: Path, dry_run: bool, seconds: float) -> Section:
    output = out / f'{name}.json'
    call = ['-m', f'{PACKAGE}.{name}', '--json', str(output), *['--dry-run'] * dry_run]
    return Section(name, title, [PYTHON, *call], seconds, output)


def _collectives(out: Path, dry_run: bool, count: int) -> Section:
    output = out / f'collectives_{count}.json'
    call = ['-m', 'torch.distributed.run', '--standalone', f'--nproc_per_node={count}']
    call += ['-m', f'{PACKAGE}.collectives', '--json', str(output), *['--dry-run'] * dry_run]
    title = f'NCCL, {count} GPU' + 's' * (count > 1)
    return Section(f'collectives_{count}', title, [PYTHON, *call], 45, output)
