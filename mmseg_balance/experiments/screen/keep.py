"""A screened head put back into its network: an ordinary checkpoint."""

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.runner import CheckpointLoader, save_checkpoint

from mmseg_balance.experiments.screen.passes import HeadJob
from mmseg_balance.experiments.screen.plan import HEAD_FILE


def keep_head(args: argparse.Namespace, jobs: Sequence[HeadJob], base: Config) -> str:
    """Write the checkpoint with the head of a method, of the first seed; returns what was done.

    Raises:
        ValueError: no finished head has this method.
    """
    method, out = args.keep
    found = [job for job in jobs if job.head_run.trained and job.head_run.method == method]
    done = [job for job in found if job.finished]
    if not done:
        known = dict.fromkeys(job.head_run.method for job in jobs if job.head_run.trained)
        raise ValueError(
            f'--keep: no finished head of {method!r}; methods are {", ".join(known)} (a decision '
            'rule is no part of a checkpoint: give the method without it).'
        )
    content = CheckpointLoader.load_checkpoint(args.checkpoint, map_location='cpu')
    weights = dict(content.get('state_dict', content))
    head = torch.load(done[0].folder.path / HEAD_FILE, weights_only=True, map_location='cpu')
    weights = {k: v for k, v in weights.items() if not k.startswith('decode_head.')}
    # Buffers of the method's loss are no part of the network of the config.
    weights |= {name: value for name, value in head.items() if '.loss_decode' not in name}
    meta = {k: v for k, v in content.get('meta', {}).items() if k in ('dataset_meta', 'cfg')}
    meta['screened'] = dict(method=method, seed=done[0].head_run.run.seed, from_=args.checkpoint)
    Path(out).resolve().parent.mkdir(parents=True, exist_ok=True)
    save_checkpoint({'meta': meta, 'state_dict': weights}, out)
    return f'kept {done[0].head_run.name} as {out}; test it with {args.config}'
