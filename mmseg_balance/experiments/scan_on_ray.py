"""The label scan of a training set, divided over a Ray cluster."""

from functools import partial
from pathlib import Path

from mmengine.config import Config
from rich.progress import Progress

from mmseg_balance.experiments.engines import Engine, Place, RayEngine
from mmseg_balance.statistics import ClassStatistics, build_training_set
from mmseg_balance.statistics.shards import scan_shard


def scan_on_ray(
    config: Config, path: Path, address: str | None = None, engine: Engine | None = None
) -> ClassStatistics:
    """Count the labels of a config's training set with one task for each core of the cluster.

    A task whose worker dies runs again elsewhere; parts that an earlier, stopped call has written
    are kept and counted again only if labels or options have changed.

    Args:
        config: whose ``train_dataloader.dataset`` is read; on every node its files are there.
        path: file to write, in a folder that all nodes share.
        address: of the cluster; None: a new one on this machine.
        engine: in place of a Ray engine of that address.

    Raises:
        RuntimeError: a part could not be counted.
    """
    engine = engine or RayEngine(address, cores_only=True, shared=path.parent)
    parts = engine.slots
    calls = [partial(_scan, config, path.absolute(), (k, parts)) for k in range(parts)]
    failed: list[Exception] = []

    with Progress() as progress:
        bar = progress.add_task(f'counting, {parts} parts', total=parts)

        def on_end(number: int, outcome) -> None:
            progress.advance(bar)
            if isinstance(outcome, Exception):
                failed.append(outcome)

        engine.run(calls, lambda: None, on_end)
    if failed:
        raise RuntimeError(f'{len(failed)} of {parts} parts were not counted: {failed[0]}')
    return ClassStatistics.load(path)


def _scan(config: Config, path: Path, shard: tuple[int, int], place: Place) -> None:
    scan_shard(build_training_set(config), path, shard, workers=1, progress=False)
