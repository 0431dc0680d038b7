"""What the terminal shows of a screening: passes at work, heads done, time left."""

import threading
import time

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from mmseg_balance.experiments.progress import number_of, time_text

SHARES = {'training': (0.0, 0.75), 'dev': (0.75, 0.06), 'test': (0.81, 0.19)}  # of a pass's time
SECONDS_PER_LINE = 60.0


class ScreenProgress:
    """One bar for all heads and one for each pass at work; lines where there is no terminal.

    Args:
        heads: Number of heads.
        console: Where to; the terminal by default.
    """

    def __init__(self, heads: int, console: Console | None = None) -> None:
        self.console = console or Console()
        self.heads, self.done, self.skipped = heads, 0, 0
        self.started = self.last_line = time.monotonic()
        self.parts: dict[str, tuple[int, float]] = {}
        self.tasks: dict[str, int] = {}
        self._lock = threading.Lock()
        self.bars = Progress(
            TextColumn('{task.description}'),
            BarColumn(),
            TimeElapsedColumn(),
            TextColumn('{task.fields[note]}'),
            console=self.console,
            disable=not self.console.is_terminal,
        )
        self.all = self.bars.add_task('[bold]screening', total=1.0, note='')

    def __enter__(self) -> 'ScreenProgress':
        self.bars.start()
        return self

    def __exit__(self, *error) -> None:
        self.bars.stop()

    def say(self, text: str) -> None:
        self.console.print(text, markup=False, highlight=False)

    def skip(self, heads: int) -> None:
        """Heads that were finished before."""
        self.skipped += heads
        if heads:
            self.say(f'{number_of(heads, "head")} finished before, kept')

    def show(self, name: str, stage: str, heads: int, share: float) -> None:
        """How far a pass is; stage ``'end'`` when it has ended."""
        with self._lock:
            if stage == 'end':
                self.parts.pop(name, None)
                self.done += heads
                if name in self.tasks:
                    self.bars.remove_task(self.tasks.pop(name))
            else:
                start, length = SHARES[stage]
                self.parts[name] = (heads, start + length * share)
                if name not in self.tasks:
                    self.tasks[name] = self.bars.add_task(
                        number_of(heads, 'head'), total=1.0, note=''
                    )
                self.bars.update(
                    self.tasks[name], completed=self.parts[name][1], note=f'{stage} {share:.0%}'
                )
            self._show_all(force=stage == 'end')

    def _show_all(self, force: bool) -> None:
        done = self.done + sum(heads * share for heads, share in self.parts.values())
        total = max(self.heads - self.skipped, 1)
        elapsed = time.monotonic() - self.started
        note = ''
        if done > 0.02 * total:
            note = f'about {time_text(elapsed / done * max(total - done, 0))} left'
        self.bars.update(self.all, completed=min(done / total, 1.0), note=note)
        if not self.console.is_terminal and (
            force or time.monotonic() - self.last_line > SECONDS_PER_LINE
        ):
            self.last_line = time.monotonic()
            self.say(f'{done:.1f} of {total} heads after {time_text(elapsed)}; {note}')
