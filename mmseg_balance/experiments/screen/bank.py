"""Many heads on one frozen network: one pass over the data trains them all."""

import time
import traceback

import torch
from mmengine.dist import all_reduce, broadcast, get_world_size
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper, OptimWrapperDict
from torch import Tensor, nn


class EveryHeadFailed(RuntimeError):
    """No head is left to train; ``HeadBank.failed`` says why."""


class HeadTask(nn.Module):
    """A decode head under the name that it has in a segmentor, which optimizers go by.

    Args:
        head: The decode head, a ``ModuleList`` for a cascade.
    """

    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.decode_head = head


class HeadBank(BaseModel):
    """Trains every head on the same features, each with its own loss, optimizer and hooks.

    Convention: every head starts a step from the same state of the random number generators, the
    one that a network with this head alone would have: dropout does not depend on the other heads.
    A head whose step fails, or whose loss is not finite, is left as it is and named in ``failed``;
    the others go on. The frozen network is not part of the state: checkpoints hold heads alone.

    Args:
        segmentor: Frozen, see :func:`~mmseg_balance.experiments.screen.frozen.load_frozen`.
        heads: By the names of their runs.
    """

    def __init__(self, segmentor: nn.Module, heads: dict[str, nn.Module]) -> None:
        super().__init__(data_preprocessor=segmentor.data_preprocessor)
        self.tasks = nn.ModuleDict({name: HeadTask(head) for name, head in heads.items()})
        self.__dict__['segmentor'] = segmentor  # no submodule: neither trained nor saved
        self.failed: dict[str, str] = {}
        self.seconds = dict.fromkeys(heads, 0.0)
        self.outputs: dict[str, dict[str, Tensor]] = {}
        if get_world_size() > 1:
            for parameter in self.parameters():
                parameter.register_post_accumulate_grad_hook(_average_gradient)

    def train(self, mode: bool = True) -> 'HeadBank':
        self.segmentor.train(False)  # first: it holds one of the heads
        return super().train(mode)

    def forward(self, inputs: Tensor, data_samples=None, mode: str = 'tensor'):
        """Features; heads are trained by ``train_step`` and evaluated by ``evaluation``."""
        return self.segmentor.extract_feat(inputs)

    def train_step(self, data: dict, optim_wrapper: OptimWrapperDict) -> dict[str, Tensor]:
        """Train every head that has not failed by one step.

        Returns:
            What is logged, ``NAME/loss`` and so on.
        """
        started = time.monotonic()
        active = [name for name in self.tasks if name not in self.failed]
        if not active:
            raise EveryHeadFailed
        with torch.no_grad(), optim_wrapper[active[0]].optim_context(self):
            batch = self.data_preprocessor(data, True)
            features = self.segmentor.extract_feat(batch['inputs'])
        generators = _generator_states()
        shared = (time.monotonic() - started) / len(active)
        logged = {}
        for name in active:
            started = time.monotonic()
            _set_generator_states(generators)
            try:
                self.outputs[name] = self._step(name, features, batch, optim_wrapper[name])
            except Exception as error:
                if get_world_size() > 1:  # the other processes would wait for this head
                    raise
                self.fail(name, error)
                continue
            logged.update({f'{name}/{key}': value for key, value in self.outputs[name].items()})
            self.seconds[name] += time.monotonic() - started + shared
        return logged

    def fail(self, name: str, error: Exception) -> None:
        """Note why a head is given up."""
        self.failed[name] = told(error)
        self.outputs.pop(name, None)

    def _step(
        self, name: str, features, batch: dict, optim_wrapper: OptimWrapper
    ) -> dict[str, Tensor]:
        task = self.tasks[name]
        self.segmentor.decode_head = task.decode_head
        with optim_wrapper.optim_context(task):
            losses = self.segmentor._decode_head_forward_train(features, batch['data_samples'])
        loss, logged = self.parse_losses(losses)
        if loss.device.type == 'cpu' and not loss.isfinite():
            raise FloatingPointError(f'the loss is {loss.item()}; lower the learning rate')
        optim_wrapper.update_params(loss)
        return logged

    def share_buffers(self) -> None:
        """Give every process the buffers of the first, which are saved: running means differ."""
        for buffer in self.tasks.buffers():
            broadcast(buffer)

    def check_finite(self) -> None:
        """Give up heads with a weight that is not finite; for devices that a step does not wait for."""
        for name, task in self.tasks.items():
            bad = [key for key, p in task.named_parameters() if not p.isfinite().all()]
            if bad and name not in self.failed:
                self.fail(
                    name, FloatingPointError(f'{bad[0]} is not finite; lower the learning rate')
                )


def told(error: Exception) -> str:
    """Why a head is given up, with the end of the trace."""
    trace = ''.join(traceback.format_exception(error)[-3:])
    return f'{type(error).__name__}: {error}\n{trace}'


def _average_gradient(parameter: Tensor) -> None:
    all_reduce(parameter.grad, 'mean')


def _generator_states() -> list[Tensor]:
    states = [torch.get_rng_state()]
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        states.append(torch.cuda.get_rng_state())
    return states


def _set_generator_states(states: list[Tensor]) -> None:
    torch.set_rng_state(states[0])
    if len(states) > 1:
        torch.cuda.set_rng_state(states[1])
