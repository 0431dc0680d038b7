"""Where the calls of a comparison, a screening or a scan run: on this machine, or on a Ray cluster.

Both engines do the same with a list of calls: run as many at a time as there is place for, hand
each result to ``on_end`` when it is there, call ``on_tick`` meanwhile, and end what runs when they
are interrupted. What a call finds out goes to files; its result is small.
"""

import os
import queue
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from mmseg_balance.experiments.numbers import at_least
from mmseg_balance.runtime.environment import usable_cores

SECONDS_PER_TICK = 0.5
SECONDS_TO_STOP = 30.0
ENGINES = ('local', 'ray')
NO_DEVICE = ('', '-1', 'NoDevFiles')  # how CUDA_VISIBLE_DEVICES says that there is none
PASSED_ON = ('PYTHONPATH',)  # to Ray's workers, whose variables are those of their node


@dataclass(frozen=True)
class Gone:
    """An event that is set when a file is no longer there, on whatever machine shares its folder."""

    path: Path

    def is_set(self) -> bool:
        return not self.path.exists()


@dataclass(frozen=True)
class Place:
    """Where a call runs.

    Args:
        environment: variables for its processes, such as ``CUDA_VISIBLE_DEVICES``.
        stop: set when the call is to end early.
    """

    environment: Mapping[str, str] | None = None
    stop: threading.Event | Gone | None = None

    def check(self) -> None:
        """End the call, as Ctrl-C would, if it is to end."""
        if self.stop is not None and self.stop.is_set():
            raise KeyboardInterrupt


Call = Callable[[Place], Any]
OnEnd = Callable[[int, Any], None]


class Engine(Protocol):
    """Runs calls; ``slots`` says how many run at once, as far as that is known."""

    @property
    def slots(self) -> int: ...

    def run(self, calls: Sequence[Call], on_tick: Callable[[], None], on_end: OnEnd) -> None:
        """Bring all calls to their end.

        Args:
            calls: functions of a :class:`Place`; for Ray they are pickled.
            on_tick: called now and then, in the caller's thread.
            on_end: called there with a call's number and its result, or the exception it raised.
        """


def make_engine(
    name: str, jobs: int = 1, gpus: int = 1, address: str | None = None, shared: Path = Path()
) -> Engine:
    """The engine of a command's arguments.

    Args:
        name: ``local`` or ``ray``.
        jobs: calls at a time, for ``local``.
        gpus: GPUs a call, where there are any; on Ray's CPUs, cores a call.
        address: of a Ray cluster; None: a new one on this machine; ``auto``: the one at work.
        shared: see :class:`RayEngine`.

    Raises:
        ValueError: another name, ``jobs`` below 1 or an argument of the other engine.
    """
    if name not in ENGINES:
        raise ValueError(f'--engine {name}: choose from {", ".join(ENGINES)}')
    at_least('--jobs', jobs, 1)
    if name == 'ray':
        if jobs != 1:
            raise ValueError('--jobs is for --engine local; Ray runs what its nodes have place for')
        return RayEngine(address, gpus, shared=shared)
    if address is not None:
        raise ValueError('--address is for --engine ray')
    return LocalEngine(jobs, gpus)


class LocalEngine:
    """Threads of this process, which wait for the processes that the calls start.

    With several at a time each has its share of the GPUs and of the cores.

    Args:
        jobs: calls at a time.
        gpus: GPUs a call.
    """

    def __init__(self, jobs: int = 1, gpus: int = 1) -> None:
        self.slots, self.gpus = jobs, gpus

    def run(self, calls: Sequence[Call], on_tick: Callable[[], None], on_end: OnEnd) -> None:
        free: queue.SimpleQueue = queue.SimpleQueue()
        for environment in environments(self.slots, self.gpus, os.environ):
            free.put(environment)
        stop = threading.Event()

        def in_slot(call: Call) -> Any:
            environment = free.get()
            try:
                return call(Place(environment, stop))
            finally:
                free.put(environment)

        with ThreadPoolExecutor(self.slots) as pool:
            left = {pool.submit(in_slot, call): number for number, call in enumerate(calls)}
            try:
                while left:
                    done, _ = wait(left, SECONDS_PER_TICK, FIRST_COMPLETED)
                    on_tick()
                    for future in done:
                        on_end(left.pop(future), _outcome(future))
            except BaseException:
                stop.set()
                for future in left:
                    future.cancel()
                raise


def _outcome(future: Future) -> Any:
    return future.exception() or future.result()


def environments(jobs: int, gpus: int, own: Mapping[str, str]) -> list[dict[str, str]]:
    """The variables of each of ``jobs`` slots: all of the machine for one, else a share.

    Raises:
        ValueError: more GPUs are wanted than there are.

    Example:
        >>> [e['CUDA_VISIBLE_DEVICES'] for e in environments(2, 2, {'CUDA_VISIBLE_DEVICES': '4,5,6,7'})]
        ['4,5', '6,7']
        >>> environments(1, 1, {'HOME': '/'})
        [{'HOME': '/'}]
    """
    if jobs == 1:
        return [dict(own)]
    cores = str(max(1, usable_cores() // jobs))
    found = [{'OMP_NUM_THREADS': cores, **own} for _ in range(jobs)]
    devices = _visible_devices(own)
    if not devices:
        return found
    if jobs * gpus > len(devices):
        raise ValueError(
            f'--jobs {jobs} with --gpus {gpus} needs {jobs * gpus} GPUs and {len(devices)} are '
            'visible; give fewer jobs'
        )
    for slot, variables in enumerate(found):
        variables['CUDA_VISIBLE_DEVICES'] = ','.join(devices[slot * gpus : (slot + 1) * gpus])
    return found


def _visible_devices(own: Mapping[str, str]) -> list[str]:
    import torch

    if 'CUDA_VISIBLE_DEVICES' in own:
        devices = own['CUDA_VISIBLE_DEVICES'].split(',')
        return [device for device in devices if device not in NO_DEVICE]
    return [str(index) for index in range(torch.cuda.device_count())]


class RayEngine:
    """Each call is a Ray task, on whatever node of the cluster has place for it.

    A worker or node that dies is Ray's to notice: the task runs again elsewhere, up to
    ``RETRIES`` times. A task that raises is not run again.

    Args:
        address: of the cluster; None: the variable RAY_ADDRESS, or a new one on this machine.
        gpus: GPUs a call, where the cluster has any; else CPU cores.
        cores_only: for calls that need no GPU: ``gpus`` cores each, on all nodes.
        shared: folder that all nodes share; a file there says that the calls are waited for.
    """

    RETRIES = 5

    def __init__(
        self,
        address: str | None = None,
        gpus: int = 1,
        cores_only: bool = False,
        shared: Path = Path(),
    ) -> None:
        self.address, self.gpus, self.shared = address, gpus, shared.absolute()
        self._connect()
        resources = self.ray.cluster_resources()
        kind = 'GPU' if resources.get('GPU') and not cores_only else 'CPU'
        if resources.get(kind, 0) < gpus:
            raise ValueError(
                f'--gpus {gpus}: the Ray cluster has {resources.get(kind, 0):g} {kind}s in all'
            )
        self.slots = int(resources[kind] // gpus)
        self.needs = {'num_gpus': gpus, 'num_cpus': 1} if kind == 'GPU' else {'num_cpus': gpus}

    def _connect(self) -> None:
        try:
            import ray
        except ImportError as error:
            raise ValueError(
                '--engine ray needs Ray: pip install "mmseg_balance[cluster]"'
            ) from error
        self.ray = ray
        if ray.is_initialized():
            return
        try:
            ray.init(
                self.address,
                log_to_driver=False,
                include_dashboard=False if self.address is None else None,
            )
        except ConnectionError as error:
            raise ValueError(
                f'--address {self.address}: no Ray cluster there ({error}); start one with '
                '`ray start --head`'
            ) from error

    def run(self, calls: Sequence[Call], on_tick: Callable[[], None], on_end: OnEnd) -> None:
        ray = self.ray
        task = ray.remote(_in_folder).options(
            **self.needs, max_retries=self.RETRIES, retry_exceptions=False
        )
        variables = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        # Ray interrupts a call once, and a busy worker may miss it: a call also ends without this.
        self.shared.mkdir(parents=True, exist_ok=True)
        descriptor, awaited = tempfile.mkstemp(prefix='.awaited-', dir=self.shared)
        os.close(descriptor)
        stop, left = Gone(Path(awaited)), {}
        try:
            for number, call in enumerate(calls):
                left[task.remote(Path.cwd(), variables, call, stop)] = number
            while left:
                done, _ = ray.wait(list(left), timeout=SECONDS_PER_TICK)
                on_tick()
                for reference in done:
                    on_end(left.pop(reference), self._outcome(reference))
        except BaseException:
            stop.path.unlink()
            for reference in left:
                ray.cancel(reference, force=False)
            if left:
                ray.wait(list(left), num_returns=len(left), timeout=SECONDS_TO_STOP)
            raise
        finally:
            stop.path.unlink(missing_ok=True)

    def _outcome(self, reference) -> Any:
        try:
            return self.ray.get(reference)
        except self.ray.exceptions.RayError as error:
            return error


def _in_folder(folder: Path, variables: Mapping[str, str], call: Call, stop: Gone) -> Any:
    """On a worker: its relative paths are those of the driver, on a shared file system."""
    os.chdir(folder)
    os.environ.update(variables)
    return call(Place(stop=stop))
