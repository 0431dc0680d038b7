"""Times of cases that take turns, so that a busy machine is busy for all of them."""

import random
import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

HOST_CLOCKS = {
    'wall': time.perf_counter,
    'thread': time.thread_time,  # leaves out the time that other programs had; for one thread
}


class Case(NamedTuple):
    """One of those who take turns.

    Args:
        name: what the table calls it.
        kind: ``'ours'``, or whose it is.
        run: the work that is timed.
        prepare: work before it that is not.
    """

    name: str
    kind: str
    run: Callable[[], object]
    prepare: Callable[[], object] = lambda: None


class Timing(NamedTuple):
    """Median seconds of a case, and the median of its ratios to the baseline."""

    seconds: float
    ratio: float
    spread: tuple[float, float]

    @property
    def quartiles(self) -> str:
        """The spread as it stands in a table."""
        low, high = self.spread
        return f'{low:.3g}–{high:.3g}'


def time_in_turns(
    cases: list[Case],
    rounds: int,
    clock: str = 'wall',
    warmup: int = 1,
    device: str = 'cpu',
    seed: int = 0,
    title: str = '',
) -> dict[str, list[float]]:
    """Seconds of each case in each round; in a round each runs once, in random order.

    Args:
        cases: who takes turns; one that raises is left out of the result.
        rounds: rounds that count.
        clock: ``'wall'``, ``'thread'`` or ``'device'`` (the GPU's own time, by its events).
        warmup: rounds before them that do not.
        device: ``'cuda'`` synchronises before each reading of a host's clock.
        seed: of the orders.
        title: what the progress bar says.
    """
    order = random.Random(seed)
    seconds_of = (
        _device_seconds
        if clock == 'device'
        else partial(_host_seconds, read=HOST_CLOCKS[clock], device=device)
    )
    times: dict[str, list[float]] = {case.name: [] for case in cases}
    for turn in _with_progress(rounds + warmup, title):
        for case in order.sample(cases, len(cases)):
            if case.name not in times:
                continue
            try:
                seconds = seconds_of(case)
            except Exception as error:  # a case that cannot do this is a finding, not the end
                print(f'{case.name} is left out: {in_one_line(error)}')
                del times[case.name]
                continue
            if turn >= warmup:
                times[case.name].append(seconds)
    return times


def in_one_line(error: Exception) -> str:
    r"""What was raised, short enough for a table.

    Example:
        >>> in_one_line(ValueError('one\ntwo')), in_one_line(MemoryError())
        ('ValueError: one', 'MemoryError')
    """
    said = str(error).strip().partition('\n')[0][:80]
    return f'{type(error).__name__}: {said}'.removesuffix(': ')


def compare(times: dict[str, list[float]], baseline: str) -> dict[str, Timing]:
    """Medians, and medians and quartiles of the ratios within a round.

    Raises:
        SystemExit: the baseline failed, so that there are no ratios.

    Example:
        >>> compare({'a': [1., 2., 4.], 'b': [2., 4., 4.]}, 'a')['b']
        Timing(seconds=4.0, ratio=2.0, spread=(1.5, 2.0))
    """
    if baseline not in times:
        raise SystemExit(f'error: {baseline} failed, to which the others are compared')
    result = {}
    for name, seconds in times.items():
        ratios = sorted(own / base for own, base in zip(seconds, times[baseline], strict=True))
        quartiles = (
            statistics.quantiles(ratios, n=4, method='inclusive') if len(ratios) > 1 else ratios * 3
        )
        result[name] = Timing(
            statistics.median(seconds), statistics.median(ratios), (quartiles[0], quartiles[2])
        )
    return result


def _host_seconds(case: Case, read: Callable[[], float], device: str) -> float:
    case.prepare()
    _wait_for(device)
    start = read()
    case.run()
    _wait_for(device)
    return read() - start


def _device_seconds(case: Case) -> float:
    """As in training, where the host has run ahead and the GPU waits for no launch."""
    case.prepare()
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    _fill_the_queue()
    start.record()
    case.run()
    end.record()
    torch.cuda.synchronize()
    return start.elapsed_time(end) / 1e3


def _fill_the_queue() -> None:
    """Some ten milliseconds of work for a GPU, in which the host can launch what follows."""
    factor = torch.ones(4096, 4096, device='cuda')
    for _ in range(4):
        factor @ factor


def _wait_for(device: str) -> None:
    if device == 'cuda':
        torch.cuda.synchronize()


def _with_progress(rounds: int, title: str) -> Iterator[int]:
    columns = (
        TextColumn('{task.description}'),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, transient=True) as progress:
        yield from progress.track(range(rounds), description=title)
