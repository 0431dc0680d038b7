"""One look for every figure: drawn without pyplot, so that no window or global state is touched."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from mmseg_balance.runtime.atomic_files import check_output

INK = '#22262b'
FAINT = '#b9bec5'
# Distinguishable with colour-vision deficiencies, in this order.
COLORS = ('#2a6fbb', '#d9702a', '#3c9a73', '#a1479b', '#c9a227', '#6b6f76', '#5bb5d6', '#8c5a3c')
# Beyond as many runs as there are colours, the shape tells them apart.
MARKERS = ('o', 's', '^', 'D', 'P', 'v')
GAIN, LOSS = '#2a6fbb', '#d9702a'


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of ``width`` x ``height`` inches."""
    figure = Figure(figsize=(width, height), dpi=150, layout='constrained')
    FigureCanvasAgg(figure)
    return figure


def plain_axes(axes: Axes) -> Axes:
    """Take away what carries no data."""
    axes.spines[['top', 'right']].set_visible(False)
    axes.spines[['left', 'bottom']].set_color(FAINT)
    axes.tick_params(color=FAINT, labelcolor=INK, labelsize=8)
    axes.xaxis.label.set_size(9)
    axes.yaxis.label.set_size(9)
    axes.title.set_size(10)
    return axes


def name_text(name: str) -> str:
    r"""A name of the user's as matplotlib shall show it: not as mathematics, and in legends too.

    >>> name_text('tree'), name_text('cost $'), name_text('_background_')
    ('tree', 'cost \\$', '\u200b_background_')
    """
    name = str(name).replace('$', r'\$')
    return f'\u200b{name}' if name.startswith('_') else name  # legends leave out such names


def check_picture(option: str, path: str | Path) -> None:
    """See that a picture can be written, before what it shows is computed.

    Raises:
        ValueError: names option, file and remedy.
    """
    formats = sorted(f'.{name}' for name in FigureCanvasAgg.get_supported_filetypes())
    check_output(option, path, formats if Path(path).suffix else ())


def save_figure(figure: Figure, path: str) -> None:
    """Write the figure; its format follows the suffix, PNG where there is none."""
    path = path if Path(path).suffix else f'{path}.png'
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    print(f'Saved {path}')


def run_names(paths: Sequence[str], given: Sequence[str] | None) -> list[str]:
    """A short name for each file: the given ones, or what tells the paths apart.

    Example:
        >>> run_names(['work_dirs/ce/cal.json', 'work_dirs/lmp/cal.json'], None)
        ['ce', 'lmp']
        >>> run_names(['ce.json', 'lmp.json'], None)
        ['ce', 'lmp']
        >>> run_names(['runs/ce/cal.json', 'runs/lmp/cal.json', 'runs/lmp/cal_dev.json'], None)
        ['ce/cal', 'lmp/cal', 'lmp/cal_dev']
    """
    if given is not None:
        if len(given) != len(paths):
            raise ValueError(
                f'--names has {len(given)} names for {len(paths)} files; give each file one.'
            )
        return list(given)
    parts = [Path(path).with_suffix('').parts for path in paths]
    shared = set(parts[0]).intersection(*parts)
    levels = enumerate(zip(*parts, strict=False))
    folders = next((depth for depth, level in levels if len(set(level)) > 1), 0)
    for names in (
        [name[-1] for name in parts],
        ['/'.join(part for part in name if part not in shared) for name in parts],
        ['/'.join(name[folders:]) for name in parts],
    ):
        if all(names) and len(set(names)) == len(names):
            return names
    return [str(path) for path in paths]
