"""Heads, losses, data sets and pipelines of a config, found without building anything."""

import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mmengine.config import Config
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.registry import DATASETS, MODELS

from mmseg_balance.runtime.config_files import type_name

HEAD_KEYS = ('decode_head', 'auxiliary_head', 'kernel_generate_head')
# What BaseDecodeHead takes where the config is silent.
DEFAULT_LOSS = dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0)
DEFAULT_IGNORE_INDEX = 255


@dataclass(frozen=True)
class Loss:
    """A loss of a head: ``key`` is its place in the config."""

    key: str
    config: Mapping
    argument: str  # of the head: loss_decode, loss_cls, …

    @property
    def kind(self) -> str:
        return type_name(self.config)

    @property
    def name(self) -> str | None:
        """``loss_name`` by the config or the default of the type."""
        kind = registered(MODELS, self.config)
        return self.config.get('loss_name') or (kind and default_of(kind, 'loss_name'))

    def changed(self, **arguments) -> dict[str, Any]:
        """A fix that gives it these arguments."""
        if self.config is DEFAULT_LOSS:  # nothing in the config to change: the fix is all of it
            return {self.key: {**self.config, **arguments}}
        return {f'{self.key}.{name}': value for name, value in arguments.items()}


@dataclass(frozen=True)
class Head:
    """A head of the segmentor as the config describes it."""

    key: str
    config: Mapping

    @property
    def kind(self) -> str:
        return type_name(self.config)

    @property
    def num_classes(self) -> int | None:
        return self.config.get('num_classes')

    @property
    def channels(self) -> int | None:
        """Output channels: logits per pixel."""
        return self.config.get('out_channels') or self.num_classes

    @property
    def ignore_index(self) -> int | None:
        return self.config.get('ignore_index', DEFAULT_IGNORE_INDEX)

    @property
    def is_plain(self) -> bool:
        """Whether its losses see logits and labels of pixels, as ``BaseDecodeHead`` calls them."""
        kind = registered(MODELS, self.config)
        own = getattr(kind, 'loss_by_feat', None)
        return own is BaseDecodeHead.loss_by_feat

    @property
    def classifies_pixels(self) -> bool:
        """Whether it is one of MMSegmentation's heads with a classifier per pixel."""
        kind = registered(MODELS, self.config)
        return isinstance(kind, type) and issubclass(kind, BaseDecodeHead)

    @property
    def losses(self) -> list[Loss]:
        """Every loss that it sets, or the default one."""
        found = []
        for argument, value in self.config.items():
            if not str(argument).startswith('loss'):
                continue
            several = isinstance(value, (list, tuple))
            for index, one in enumerate(value if several else [value]):
                if isinstance(one, Mapping) and 'type' in one:
                    key = f'{self.key}.{argument}' + (f'.{index}' if several else '')
                    found.append(Loss(key, one, argument))
        if 'loss_decode' not in self.config and self.is_plain:
            found.append(Loss(f'{self.key}.loss_decode', DEFAULT_LOSS, 'loss_decode'))
        return found


def registered(registry, part: Mapping):
    """The class that a part of a config names; None if nothing has that name."""
    kind = part.get('type')
    if not isinstance(kind, str):
        return kind
    try:
        return registry.get(kind)
    except Exception:  # an unknown scope; the check of names reports it
        return None


def default_of(kind: type, argument: str):
    """Default of an argument by the first class in the inheritance that names it; else None."""
    for base in getattr(kind, '__mro__', ()):
        parameters = inspect.signature(base.__init__).parameters
        if argument in parameters:
            return parameters[argument].default
    return None


def heads_of(config: Config) -> list[Head]:
    """The heads of the model, with those of a model inside a wrapper."""
    return list(_heads(config.get('model') or {}, 'model'))


def _heads(part: Any, key: str) -> Iterator[Head]:
    if not isinstance(part, Mapping):
        return
    for name, value in part.items():
        several = isinstance(value, (list, tuple))
        for index, one in enumerate(value if several else [value]):
            place = f'{key}.{name}' + (f'.{index}' if several else '')
            if name in HEAD_KEYS and isinstance(one, Mapping):
                yield Head(place, one)
            yield from _heads(one, place)


def preprocessor_of(config: Config) -> Mapping:
    """``model.data_preprocessor``; empty where the config has none."""
    return (config.get('model') or {}).get('data_preprocessor') or {}


def loader_of(config: Config, split: str) -> Mapping:
    """``train_dataloader`` or ``val_dataloader``; empty where the config has none."""
    return config.get(f'{split}_dataloader') or {}


def leaf_datasets(config: Config, split: str) -> list[tuple[str, Mapping]]:
    """Key and config of each plain data set of a split, wrappers opened."""
    dataset = loader_of(config, split).get('dataset')
    return list(_leaves(dataset, f'{split}_dataloader.dataset'))


def _leaves(dataset: Any, key: str) -> Iterator[tuple[str, Mapping]]:
    if isinstance(dataset, (list, tuple)):
        for index, one in enumerate(dataset):
            yield from _leaves(one, f'{key}.{index}')
    elif isinstance(dataset, Mapping):
        inner = [name for name in ('dataset', 'datasets') if name in dataset]
        for name in inner:
            yield from _leaves(dataset[name], f'{key}.{name}')
        if not inner:
            yield key, dataset


def class_names(dataset: Mapping) -> tuple[str, ...] | None:
    """Names of the classes by the data set's ``metainfo`` or its type; None if neither says."""
    metainfo = dataset.get('metainfo')
    names = metainfo.get('classes') if isinstance(metainfo, Mapping) else None
    if names is None:
        kind = registered(DATASETS, dataset)
        names = (getattr(kind, 'METAINFO', None) or {}).get('classes')
    return None if names is None or isinstance(names, str) else tuple(names)


def pipelines_of(config: Config, split: str) -> list[tuple[str, list[Mapping]]]:
    """Key and steps of every pipeline of a split, those of wrappers too, in running order."""
    found = []

    def look(part: Any, key: str) -> None:
        if isinstance(part, (list, tuple)):
            for index, one in enumerate(part):
                look(one, f'{key}.{index}')
        elif isinstance(part, Mapping):
            for name in ('dataset', 'datasets'):
                look(part.get(name), f'{key}.{name}')
            if part.get('pipeline'):
                found.append((f'{key}.pipeline', list(part['pipeline'])))

    look(loader_of(config, split).get('dataset'), f'{split}_dataloader.dataset')
    return found


def steps_of(config: Config, split: str) -> list[tuple[str, Mapping]]:
    """Key and config of every transform of a split's pipelines."""
    return [
        (f'{key}.{index}', step)
        for key, steps in pipelines_of(config, split)
        for index, step in enumerate(steps)
        if isinstance(step, Mapping)
    ]


def listed(value: Any) -> list:
    """A list of what the config gives as one dict, as a list or not at all.

    >>> listed(None), listed({'a': 1}), listed([1])
    ([], [{'a': 1}], [1])
    """
    if value is None:
        return []
    return list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value]


def metrics_of(config: Config, split: str = 'val') -> list[tuple[str, Mapping]]:
    """Key and config of every metric of a split."""
    key, value = f'{split}_evaluator', config.get(f'{split}_evaluator')
    if isinstance(value, Mapping) and 'metrics' in value:
        key, value = f'{key}.metrics', value['metrics']
    return _one_or_several(key, value)


def schedulers_of(config: Config) -> list[tuple[str, Mapping]]:
    """Key and config of every parameter scheduler."""
    return _one_or_several('param_scheduler', config.get('param_scheduler'))


def _one_or_several(key: str, value: Any) -> list[tuple[str, Mapping]]:
    if isinstance(value, Mapping):
        return [(key, value)]
    several = [(f'{key}.{index}', one) for index, one in enumerate(listed(value))]
    return [(place, one) for place, one in several if isinstance(one, Mapping)]


def hooks_of(config: Config) -> list[tuple[str, Mapping]]:
    """Key and config of default and custom hooks."""
    found = [
        (f'default_hooks.{name}', hook)
        for name, hook in (config.get('default_hooks') or {}).items()
        if isinstance(hook, Mapping)
    ]
    return found + _one_or_several('custom_hooks', listed(config.get('custom_hooks')))


def max_iters(config: Config) -> int | None:
    """Length of the training in iterations; None if it counts epochs."""
    loop = config.get('train_cfg') or {}
    return None if loop.get('by_epoch') else loop.get('max_iters')


def max_epochs(config: Config) -> int | None:
    """Length of the training in epochs; None if it counts iterations."""
    return (config.get('train_cfg') or {}).get('max_epochs')


def typed_parts(part: Any) -> Iterator[Mapping]:
    """Every dict below ``part`` that names a type."""
    if isinstance(part, Mapping):
        if 'type' in part:
            yield part
        for value in part.values():
            yield from typed_parts(value)
    elif isinstance(part, (list, tuple)):
        for value in part:
            yield from typed_parts(value)


def has_type(part: Any, name: str) -> bool:
    """Whether a dict below ``part`` names this type."""
    return any(type_name(one) == name for one in typed_parts(part))
