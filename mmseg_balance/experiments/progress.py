"""What the terminal shows: one bar for all runs, one for the run at work, and the time left."""

import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
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


class TimeLeft:
    """Expected rest of a comparison: the mean time of this session's runs times what is left.

    >>> left = TimeLeft(runs=3)
    >>> left.estimate(elapsed=10., share=0.)  # nothing to go by
    >>> left.estimate(elapsed=10., share=.5)  # 10 s of this run and two runs of 20 s
    50.0
    >>> left.done(30.)
    >>> left.estimate(elapsed=0., share=0.)
    60.0
    """

    def __init__(self, runs: int) -> None:
        self.runs_left = runs
        self.durations: list[float] = []

    def done(self, seconds: float) -> None:
        self.runs_left -= 1
        self.durations.append(seconds)

    def skipped(self) -> None:
        self.runs_left -= 1

    def estimate(self, elapsed: float, share: float) -> float | None:
        """Seconds left.

        Args:
            elapsed: seconds that the run at work has taken.
            share: how much of it is done, 0 to 1.
        """
        if self.durations:
            mean = sum(self.durations) / len(self.durations)
        elif share > 0:
            mean = elapsed / share
        else:
            return None
        rest = elapsed * (1 - share) / share if share > 0.05 else max(mean - elapsed, 0.0)
        return rest + mean * (self.runs_left - 1)


class Progress:
    """Shows a comparison at work; in a file instead of a terminal, one line per event.

    Args:
        runs: number of runs.
        console: where to; the terminal by default.
    """

    TRAIN_SHARE = 0.95  # of a run's time, until its test is seen

    def __init__(self, runs: int, console: Console | None = None) -> None:
        self.console = console or Console()
        self.left = TimeLeft(runs)
        self.runs = runs
        self.name, self.iterations, self.started, self.share = '', 1, 0.0, 0.0
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
        self.current = None

    def __enter__(self) -> 'Progress':
        self.bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.bars.stop()

    def say(self, text: str) -> None:
        self.console.print(text, markup=False, highlight=False)

    def skip(self, name: str) -> None:
        self.left.skipped()
        self.say(f'{name}: finished before, kept')
        self.bars.advance(self.all)

    def start(self, name: str, iterations: int) -> None:
        self.name, self.iterations = name, iterations
        self.started, self.share = time.monotonic(), 0.0
        number = self.runs - self.left.runs_left + 1
        if not self.console.is_terminal:
            self.say(f'{name}: run {number} of {self.runs} starts')
        self.current = self.bars.add_task(name, total=iterations, note='starting')

    def update(self, step: int) -> None:
        self.share = self.TRAIN_SHARE * min(step / self.iterations, 1.0)
        self._show('training' if step else 'starting', step)

    def testing(self) -> None:
        self.share = self.TRAIN_SHARE
        self._show('testing', self.iterations)

    def _show(self, note: str, step: int) -> None:
        self.bars.update(self.current, completed=min(step, self.iterations), note=note)
        rest = self.left.estimate(time.monotonic() - self.started, self.share)
        if rest is not None:
            self.bars.update(self.all, note=f'about {time_text(rest)} left')

    def end(self, ok: bool, error: str) -> None:
        """Closes the run at work; ``error`` is shown when it failed."""
        seconds = time.monotonic() - self.started
        self.left.done(seconds)
        rest = self.left.estimate(0.0, 0.0)
        tail = f'; about {time_text(rest)} left' if self.left.runs_left and rest else ''
        if ok:
            self.say(f'{self.name}: done in {time_text(seconds)}{tail}')
        else:
            self.say(f'{self.name}: FAILED after {time_text(seconds)}{tail}\n{error}')
        self.bars.remove_task(self.current)
        self.bars.advance(self.all)
