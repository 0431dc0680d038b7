"""Starts a training or a test as a process of its own, and never leaves one behind."""

import contextlib
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

SECONDS_TO_END = 15


@dataclass(frozen=True)
class Launcher:
    """How ``mmseg-balance train`` and ``mmseg-balance test`` are started.

    Args:
        kind: ``none`` (one process), ``pytorch`` (torchrun on this machine) or ``slurm``
            (srun, with the allocation's cores per task and the options in the variable SRUN_ARGS).
        gpus: processes, for the last two.
    """

    kind: str = 'none'
    gpus: int = 1

    def command(self, verb: str, *arguments: str | Path) -> list[str]:
        """The command line of ``verb``.

        >>> Launcher('slurm', 8).command('train', 'c.py')[:2]
        ['srun', '--ntasks=8']
        """
        return self.module_command('mmseg_balance', verb, *arguments)

    def module_command(self, module: str, *arguments: str | Path) -> list[str]:
        """The command line of a module, as ``python -m`` starts it.

        >>> Launcher().module_command('package.worker', 'folder')[1:]
        ['-m', 'package.worker', 'folder']
        """
        call = ['-m', module, *map(str, arguments)]
        if self.kind == 'pytorch':
            return [
                sys.executable,
                '-m',
                'torch.distributed.run',
                '--standalone',
                f'--nproc_per_node={self.gpus}',
                *call,
                '--launcher',
                'pytorch',
            ]
        if self.kind == 'slurm':
            # Since Slurm 22.05 srun gives a task one core, whatever sbatch was told.
            cores = os.environ.get('SLURM_CPUS_PER_TASK')
            return [
                'srun',
                f'--ntasks={self.gpus}',
                *([f'--cpus-per-task={cores}'] if cores else []),
                *shlex.split(os.environ.get('SRUN_ARGS', '')),
                sys.executable,
                *call,
                '--launcher',
                'slurm',
            ]
        return [sys.executable, *call]


def run_process(
    command: Sequence[str],
    log: Path,
    on_tick: Callable[[], None],
    keep_open: Sequence[int] = (),
    seconds_per_tick: float = 1.0,
    environment: Mapping[str, str] | None = None,
) -> int:
    """Runs a command to its end and returns its exit status; its output goes to ``log``.

    Whatever ends the wait (Ctrl-C, a signal, an error in ``on_tick``) also ends the process and
    all that it started.

    Args:
        command: the command line.
        log: file that the output is appended to.
        on_tick: called about every ``seconds_per_tick`` seconds.
        keep_open: descriptors that the process inherits.
        seconds_per_tick: see ``on_tick``.
        environment: the process's variables (default: this one's).
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open('ab') as output:
        output.write(f'$ {shlex.join(command)}\n'.encode())
        output.flush()
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=tuple(keep_open),
            env=environment,
        )
        try:
            while True:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    return process.wait(timeout=seconds_per_tick)
                on_tick()
        finally:
            _end_group(process)


def _end_group(process: subprocess.Popen) -> None:
    """Asks the process and its children to end, then makes them."""
    for number, patience in ((signal.SIGTERM, SECONDS_TO_END), (signal.SIGKILL, None)):
        if process.poll() is not None and number == signal.SIGTERM:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=patience)


def last_words(log: Path, lines: int = 15) -> str:
    """The end of a log, for the report of a failure."""
    try:
        text = log.read_text(encoding='utf-8', errors='replace')
    except FileNotFoundError:
        return ''
    return '\n'.join(text.rstrip().splitlines()[-lines:])
