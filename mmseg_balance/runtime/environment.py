"""Which machine and which versions a number comes from."""

import os
import platform
from collections.abc import Sequence
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path

import torch

PACKAGES = (
    'mmseg_balance',
    'torch',
    'triton',
    'numpy',
    'mmengine',
    'mmcv',
    'mmcv-lite',
    'mmsegmentation',
    'torchmetrics',
)


def environment() -> dict:
    """Machine, cores, Python, versions of what numbers depend on, and the date (UTC)."""
    return {
        'machine': machine(),
        'cores': os.cpu_count(),
        'python': platform.python_version(),
        **versions(),
        'date': datetime.now(timezone.utc).isoformat(timespec='seconds'),
    }


def machine() -> str:
    """The GPUs, or else the processor."""
    if not torch.cuda.is_available():
        return processor()
    names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return ', '.join(f'{names.count(name)} x {name}' for name in dict.fromkeys(names))


def processor() -> str:
    """The processor's own name, where the system tells it."""
    info = Path('/proc/cpuinfo')
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.split(':', 1)[1].strip() for line in lines if line.startswith('model name')]
    return f'{names[0]} ({platform.machine()})' if names else platform.machine()


def usable_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, 'sched_getaffinity'):  # not on macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def versions(also: Sequence[str] = ()) -> dict[str, str]:
    """Installed versions of what the numbers depend on, and of the packages in ``also``."""
    found = {}
    for package in (*PACKAGES, *also):
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    found['torch'] = torch.__version__  # with the build, which the metadata may leave out
    return found
