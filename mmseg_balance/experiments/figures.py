"""The report's figures, as SVG that takes the page's text colour and so fits light and dark."""

import io
import re
from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from mmseg_balance.experiments.summary import Method
from mmseg_balance.visualization.gain import gain_figure
from mmseg_balance.visualization.reliability import reliability_diagram
from mmseg_balance.visualization.style import COLORS, FAINT, INK, name_text, new_figure, plain_axes
from mmseg_balance.visualization.tradeoff import tradeoff_figure

STYLE = {
    'text.color': INK,
    'axes.labelcolor': INK,
    'axes.titlesize': 10,
    'legend.frameon': False,
    'legend.fontsize': 8.5,
    'svg.fonttype': 'none',
    'font.family': 'sans-serif',
    'svg.hashsalt': 'mmseg_balance',
    'axes.axisbelow': True,
}


def method_colours(methods: Sequence[Method]) -> dict[str, str]:
    """One colour per method, the same in every figure and table."""
    return {m.name: COLORS[i % len(COLORS)] for i, m in enumerate(methods)}


def svg(figure: Figure, width: float = 4.5, height: float = 3.4) -> str:
    """The figure as an inline ``<svg>`` element in the page's colours for text and lines.

    Args:
        width, height: inches; decides how large the text is in the figure.
    """
    figure.set_size_inches(width, height)
    out = io.StringIO()
    figure.savefig(out, format='svg', transparent=True, metadata={'Date': None})
    text = out.getvalue()
    text = text[text.index('<svg') :]
    text = re.sub(r'<metadata>.*?</metadata>', '', text, flags=re.DOTALL)
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r'\1', text, count=1)
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r'\1', text, count=1)
    return text.replace(INK, 'currentColor').replace(FAINT, 'var(--faint)')


def draw_all(results: dict, methods: Sequence[Method]) -> dict[str, str | list[str]]:
    """Every figure of the report; ``gains`` and ``reliability`` have one per method.

    What has nothing to show is None.
    """
    if not methods:
        return {}
    colours = method_colours(methods)
    with mpl.rc_context(STYLE):
        return {
            'tradeoff': svg(draw_tradeoff(methods), 4.8, 4.2),
            'gains': [
                svg(draw_gain(results, methods[0], m), *gain_size(results)) for m in methods[1:]
            ],
            'reliability': [svg(draw_reliability(m, colours[m.name]), 3.5, 4.0) for m in methods],
            'loss': _svg_if(draw_curves(methods, colours, 'loss', 'Training loss', smooth=True)),
            'accuracy': _svg_if(
                draw_curves(
                    methods,
                    colours,
                    'decode.acc_seg',
                    'Training accuracy of the batch, %',
                    smooth=True,
                )
            ),
            'validation': _svg_if(draw_curves(methods, colours, 'mIoU', 'Validation mIoU, %')),
        }


def _svg_if(figure: Figure | None) -> str | None:
    return None if figure is None else svg(figure)


def draw_tradeoff(methods: Sequence[Method]) -> Figure:
    """Mean recall and mean IoU of every run."""
    return tradeoff_figure(
        {m.name: [(r['scores']['mRecall'], r['scores']['mIoU']) for r in m.runs] for m in methods}
    )


def gain_size(results: dict) -> tuple[float, float]:
    """Inches: wide enough for the names of the classes."""
    return min(max(4.8, 0.36 * len(results['classes']) + 1), 13), 4.2


def draw_gain(results: dict, first: Method, method: Method) -> Figure:
    """IoU gain of each class over the first method, rarest class first."""
    gains = method.per_class('IoU') - first.per_class('IoU')
    figure = gain_figure(gains, results['pixels'], results['classes'])
    axes = figure.axes[0]
    axes.set_title(f'{name_text(method.name)}: {axes.get_title(loc="left")}', loc='left')
    return figure


def draw_reliability(method: Method, colour: str) -> Figure:
    """The reliability diagram of a method, its seeds pooled."""
    bins = {
        key: np.sum([r['bins'][key] for r in method.runs], axis=0)
        for key in ('count', 'positive', 'confidence')
    }
    figure = reliability_diagram({method.name: bins}, [colour])
    axes = figure.axes[0]
    legend = axes.get_legend()
    axes.set_title(legend.get_texts()[0].get_text())  # above the curve, where it hides nothing
    legend.remove()
    return figure


def draw_curves(
    methods: Sequence[Method], colours: dict[str, str], name: str, title: str, smooth: bool = False
) -> Figure | None:
    """One logged number of each method's first seed against the iteration.

    Args:
        smooth: also draws a running mean and makes the points faint.
    """
    found = [
        (m, np.array(m.runs[0]['curves'][name]))
        for m in methods
        if len(m.runs[0]['curves'].get(name, [])) > 1
    ]
    if not found:
        return None
    figure = new_figure(4.5, 3.4)
    axes = figure.subplots()
    for method, points in found:
        x, y = points.T
        colour = colours[method.name]
        if smooth and len(y) >= 8:
            axes.plot(x, y, color=colour, alpha=0.25, linewidth=0.8)
            y = running_mean(y, max(3, len(y) // 12 | 1))
        axes.plot(
            x,
            y,
            color=colour,
            label=name_text(method.name),
            linewidth=1.6,
            marker='o' if len(y) < 8 else None,
            markersize=4,
        )
    axes.set(xlabel='iteration', title=title)
    axes.grid(color=FAINT, alpha=0.35, linewidth=0.6)
    plain_axes(axes)
    figure.legend(
        *axes.get_legend_handles_labels(), loc='outside lower center', ncols=min(4, len(found))
    )
    return figure


def running_mean(values: np.ndarray, width: int) -> np.ndarray:
    """Mean of the ``width`` values (an odd number) around each place, of fewer at the ends.

    >>> running_mean(np.array([2., 4., 6., 11.]), 3)
    array([3. , 4. , 7. , 8.5])
    """
    total = np.cumsum(np.concatenate([[0.0], values]))
    place = np.arange(len(values))
    start = np.maximum(place - width // 2, 0)
    end = np.minimum(place + width // 2 + 1, len(values))
    return (total[end] - total[start]) / (end - start)
