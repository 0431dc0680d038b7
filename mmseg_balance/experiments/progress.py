"""What the terminal shows: a bar for all runs, one for each at work, and the time left."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars


def time_text(seconds: float) -> str:
    """Seconds as people say them.

    >>> [time_text(s) for s in (8.4, 75, 3700, 190000)]
    ['8 s', '1 min 15 s', '1 h 1 min', '52 h 46 min']
    """
    whole = round(seconds)
    if whole < 60:
        return f'{whole} s'
    if whole < 3600:
        return f'{whole // 60} min {whole % 60} s'
    return f'{whole // 3600} h {whole % 3600 // 60} min'


def number_of(number: int, noun: str) -> str:
    """A number of things.

    >>> number_of(1, 'iteration'), number_of(3, 'pass')
    ('1 iteration', '3 passes')
    """
    plural = noun + ('es' if noun.endswith('s') else 's')
    return f'{number} {noun if number == 1 else plural}'


class TimeLeft:
    """Expected rest of a comparison: the mean time of this session's runs times what is left.

    Args:
        runs: number of runs.
        slots: how many run at a time.

    >>> left = TimeLeft(runs=3)
    >>> left.estimate([])  # nothing to go by
    >>> left.estimate([(10., .5)])  # 10 s of this run and two runs of 20 s
    50.0
    >>> left.done(30.)
    >>> left.estimate([])
    60.0
    """

    def __init__(self, runs: int, slots: int = 1) -> None:
        self.runs_left, self.slots = runs, slots
        self.durations: list[float] = []

    def done(self, seconds: float) -> None:
        self.runs_left -= 1
        self.durations.append(seconds)

    def skipped(self) -> None:
        self.runs_left -= 1

    def estimate(self, at_work: Sequence[tuple[float, float]]) -> float | None:
        """Seconds left.

        Args:
            at_work: of each run at work, the seconds that it has taken and the share that is done.
        """
        told = [elapsed / share for elapsed, share in at_work if share > 0.0]
        known = self.durations or told
        if not known:
            return None
        mean = sum(known) / len(known)
        rest = mean * (self.runs_left - len(at_work))
        for elapsed, share in at_work:
            rest += elapsed * (1 - share) / share if share > 0.05 else max(mean - elapsed, 0.0)
        return rest / max(1, min(self.slots, self.runs_left))


@dataclass
class AtWork:
    """A run at work."""

    bar: TaskID
    iterations: int | None  # None: not known, so that no share of it is either
    started: float
    share: float = 0.0


class Progress:
    """Shows a comparison at work; in a file instead of a terminal, one line per event.

    Args:
        runs: number of runs.
        console: where to; the terminal by default.
        slots: how many run at a time.
    """

    TRAIN_SHARE = 0.95  # of a run's time, until its test is seen

    def __init__(self, runs: int, console: Console | None = None, slots: int = 1) -> None:
        self.console = console or Console()
        self.left = TimeLeft(runs, slots)
        self.runs, self.started = runs, 0
        self.at_work: dict[str, AtWork] = {}
        self.bars = Bars(
            TextColumn('{task.description}'),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn('{task.fields[note]}'),
            console=self.console,
            disable=not self.console.is_terminal,
        )
        self.all = self.bars.add_task('[bold]comparison', total=runs, note='')

    def __enter__(self) -> 'Progress':
        self.bars.start()
        return self

    def __exit__(self, *error) -> None:
        self.bars.stop()

    def say(self, text: str) -> None:
        self.console.print(text, markup=False, highlight=False)

    def skip(self, name: str) -> None:
        self.left.skipped()
        self.started += 1
        self.say(f'{name}: finished before, kept')
        self.bars.advance(self.all)

    def start(self, name: str, iterations: int | None) -> None:
        self.started += 1
        if not self.console.is_terminal:
            self.say(f'{name}: run {self.started} of {self.runs} starts')
        bar = self.bars.add_task(name, total=iterations, note='starting')
        self.at_work[name] = AtWork(bar, iterations, time.monotonic())

    def update(self, name: str, step: int) -> None:
        """Shows how far the training of the run is."""
        run = self.at_work[name]
        if run.iterations:
            run.share = self.TRAIN_SHARE * min(step / run.iterations, 1.0)
        self._show(run, 'training' if step else 'starting', step)

    def testing(self, name: str) -> None:
        run = self.at_work[name]
        run.share = self.TRAIN_SHARE
        self._show(run, 'testing', run.iterations or 0)

    def _show(self, run: AtWork, note: str, step: int) -> None:
        self.bars.update(run.bar, completed=min(step, run.iterations or step), note=note)
        rest = self._rest()
        if rest is not None:
            self.bars.update(self.all, note=f'about {time_text(rest)} left')

    def _rest(self) -> float | None:
        now = time.monotonic()
        return self.left.estimate([(now - run.started, run.share) for run in self.at_work.values()])

    def end(self, name: str, ok: bool, error: str) -> None:
        """Closes a run; ``error`` is shown when it failed."""
        if name not in self.at_work:
            self.start(name, 1)
        run = self.at_work.pop(name)
        seconds = time.monotonic() - run.started
        self.left.done(seconds)
        rest = self._rest()
        tail = f'; about {time_text(rest)} left' if self.left.runs_left and rest else ''
        if ok:
            self.say(f'{name}: done in {time_text(seconds)}{tail}')
        else:
            self.say(f'{name}: FAILED after {time_text(seconds)}{tail}\n{error}')
        self.bars.remove_task(run.bar)
        self.bars.advance(self.all)
