"""Class statistics to read: frequencies and what every weighting makes of them."""

from rich.table import Table

from mmseg_balance.functional.class_weights import RULES, class_weights
from mmseg_balance.statistics.class_statistics import ClassStatistics


def statistics_table(statistics: ClassStatistics) -> Table:
    """Lay out one row per class: shares of the pixels, images, and a weight by each rule."""
    labelled = max(int(statistics.pixels.sum()), 1)
    everything = max(labelled + statistics.ignored_pixels, 1)
    per_image = statistics.classes_per_image
    images = statistics.num_images
    caption = (
        f'{images} images, {everything / max(images, 1):,.0f} pixels each, '
        f'{statistics.ignored_pixels / everything:.2%} ignored'
    )
    if len(per_image):
        caption += (
            f'; {per_image.mean():.1f} classes an image ({per_image.min()} to {per_image.max()})'
        )
    table = Table(title=statistics.dataset, caption=caption)
    table.add_column('class')
    for name in ('of all pixels', 'of labelled', 'images', *RULES):
        table.add_column(name.replace('_', ' '), justify='right')
    weights = [class_weights(rule, statistics) for rule in RULES]
    for c, name in enumerate(statistics.class_names):
        pixels = statistics.pixels[c]
        table.add_row(
            name,
            f'{pixels / everything:.3%}',
            f'{pixels / labelled:.3%}',
            str(statistics.images[c]),
            *(f'{column[c]:.4g}' for column in weights),
        )
    return table
