"""The config of a data set with a transform that mixes images, after loading."""

from copy import deepcopy


def mix_after_loading(config: dict, mix: list[dict], keep_rest: bool = True) -> dict:
    """Put transforms that mix images between loading and the rest of a pipeline.

    Args:
        config: of a data set with a pipeline, or of a ``MultiImageMixDataset``.
        mix: the transforms.
        keep_rest: whether the rest of the pipeline follows them.

    Returns:
        The config of a ``MultiImageMixDataset``; ``config`` stays as it is.

    Raises:
        ValueError: the pipeline does not load annotations.

    >>> load, crop = dict(type='LoadAnnotations'), dict(type='Crop')
    >>> mix_after_loading(dict(type='D', pipeline=[load, crop]), [dict(type='Mix')])
    ... # doctest: +NORMALIZE_WHITESPACE
    {'type': 'MultiImageMixDataset',
     'dataset': {'type': 'D', 'pipeline': [{'type': 'LoadAnnotations'}]},
     'pipeline': [{'type': 'Mix'}, {'type': 'Crop'}]}
    """
    config = deepcopy(config)
    if 'MultiImageMixDataset' in str(config['type']):
        rest = config['pipeline'] if keep_rest else []
        return dict(config, pipeline=[*mix, *rest])
    steps = config.get('pipeline', [])
    loads = [k for k, step in enumerate(steps) if 'Annotation' in str(step['type'])]
    if not loads:
        raise ValueError(
            f'{config["type"]} has no pipeline of its own with a transform that loads annotations; '
            "write dataset=dict(type='MultiImageMixDataset', …) in the config"
        )
    after = loads[0] + 1
    return dict(
        type='MultiImageMixDataset',
        dataset=dict(config, pipeline=steps[:after]),
        pipeline=[*mix, *(steps[after:] if keep_rest else [])],
    )
