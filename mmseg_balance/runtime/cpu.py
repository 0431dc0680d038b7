"""Training and testing without an accelerator: Gloo, plain batch norm, bfloat16."""

import atexit
import os
import sys
from collections.abc import Sequence
from contextlib import contextmanager

import torch
from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.optim import OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS

from mmseg_balance.runtime.config_files import type_name

SYNC_BN = ('SyncBN', 'SyncBatchNorm', 'MMSyncBN')


@OPTIM_WRAPPERS.register_module()
class BFloat16OptimWrapper(OptimWrapper):
    """Mixed precision on a CPU: bfloat16 autocast, which needs no loss scaling.

    MMEngine's ``AmpOptimWrapper`` refuses to run without an accelerator.
    """

    @contextmanager
    def optim_context(self, model: torch.nn.Module):
        with super().optim_context(model), torch.autocast('cpu', dtype=torch.bfloat16):
            yield


def join_processes_on_cpu(launcher: str) -> None:
    """Meet the other processes through Gloo; MMEngine would ask for a GPU while it does that.

    Raises:
        SystemExit: the launcher is none that a CPU is prepared for.
    """
    if launcher == 'none' or torch.distributed.is_initialized():
        return
    if launcher != 'pytorch':
        raise SystemExit(
            f'error: --launcher {launcher} needs accelerators: without any, start the '
            'processes with torchrun --nproc_per_node N -m mmseg_balance VERB … --launcher pytorch'
        )
    torch.distributed.init_process_group('gloo')


def leave_processes_on_cpu() -> None:
    """End this process, its work done, if it met others through Gloo.

    A thread of Gloo may still be freeing the tensors of the last exchange. An interpreter that
    takes itself apart stops such a thread, which C++ answers with an abort: so it shall not come
    to that. What Python does at an exit is done, but for freeing its memory.
    """
    if not (torch.distributed.is_initialized() and torch.distributed.get_backend() == 'gloo'):
        return
    torch.distributed.destroy_process_group()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(0)


def fit_to_cpu(cfg: Config) -> None:
    """Replace what exists only on an accelerator, and say so in the log.

    Synchronised batch norm becomes plain batch norm, float16 bfloat16, NCCL Gloo, and a model that several
    processes train is wrapped without a device.
    """
    replaced = replace_sync_bn(cfg.model)
    if cfg.get('sync_bn'):
        cfg.sync_bn = None
        replaced += 1
    if replaced:
        print_log(
            f'SyncBN needs an accelerator: {replaced} norm layer setting(s) of the config '
            'are plain BN in this run on the CPU.',
            logger='current',
        )
    wrapper = cfg.get('optim_wrapper') or {}
    if type_name(wrapper) == 'AmpOptimWrapper':
        use_bfloat16(wrapper)
        print_log(
            'AmpOptimWrapper needs an accelerator: mixed precision of this run is bfloat16.',
            logger='current',
        )
    if cfg.get('launcher', 'none') == 'none':
        return
    if cfg.get('model_wrapper_cfg') is None:
        # MMEngine's own default names a device, which PyTorch refuses for a model on the CPU.
        cfg.model_wrapper_cfg = dict(
            type='MMDistributedDataParallel',
            device_ids=None,
            broadcast_buffers=False,
            find_unused_parameters=cfg.get('find_unused_parameters', False),
        )
    if cfg.get('env_cfg', {}).get('dist_cfg', {}).get('backend') == 'nccl':
        cfg.env_cfg.dist_cfg.backend = 'gloo'
        print_log(
            'NCCL needs an accelerator: the processes of this run talk through Gloo.',
            logger='current',
        )


def use_bfloat16(wrapper: dict) -> None:
    """Turn an optimizer wrapper of the config into that of mixed precision on a CPU."""
    for option in ('loss_scale', 'dtype'):
        wrapper.pop(option, None)
    wrapper['type'] = 'BFloat16OptimWrapper'


def replace_sync_bn(node: object) -> int:
    """Turn every synchronised batch norm below ``node`` into ``'BN'``; how many there were."""
    replaced = 0
    if isinstance(node, dict):
        if type_name(node) in SYNC_BN:
            node['type'] = 'BN'
            replaced = 1
        children: Sequence = list(node.values())
    else:
        children = node if isinstance(node, (list, tuple)) else ()
    return replaced + sum(replace_sync_bn(child) for child in children)
