"""Lanes: threads that each train one chunk of a population after another, on the devices there are."""

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxfc.data import Dataset
from jaxfc.search.candidates import Group
from jaxfc.search.folds import Fold
from jaxfc.search.population import Candidates, Member, stack, unstack


class Chunk(NamedTuple):
    """Some of a group's candidates, to be trained on every fold for some epochs.

    Args:
        group: the group.
        width: the number of members of the program to use; at least as many as candidates.
        numbers: the candidates' numbers.
        members: for each candidate its member on each fold; None for those to be drawn.
        first_epoch: the first epoch to train, from 1.
        num_epochs: how many.
    """

    group: Group
    width: int
    numbers: tuple[int, ...]
    members: tuple[list[Member], ...] | None
    first_epoch: int
    num_epochs: int


class Trained(NamedTuple):
    """What came of a chunk: for each candidate its members, losses and validation accuracies, by fold."""

    chunk: Chunk
    members: list[list[Member]]
    loss: np.ndarray
    val_acc: np.ndarray


class Lanes:
    """Threads that train chunks; a context manager.

    Args:
        devices: the devices to train on.
        per_device: programs at once on each.
        data: the data.
        folds: its folds.
        seed: of the order of rows.
        patience: of early stopping, in epochs.
        longest: the most epochs of a chunk: plans are padded to it, so that all lengths share a program.
    """

    def __init__(
        self,
        devices: Sequence[jax.Device],
        per_device: int,
        data: Dataset,
        folds: Sequence[Fold],
        *,
        seed: int,
        patience: int,
        longest: int,
    ) -> None:
        self.folds, self.seed, self.patience, self.longest = folds, seed, patience, longest
        self._data = {device: [fold.on_device(data, device) for fold in folds] for device in devices}
        self._free: queue.SimpleQueue[jax.Device] = queue.SimpleQueue()
        for device in [*devices] * per_device:
            self._free.put(device)
        self._pool = ThreadPoolExecutor(len(devices) * per_device)
        self._plans: dict[tuple, np.ndarray] = {}
        self._programs: dict[tuple, tuple[Any, Any]] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> "Lanes":
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    @property
    def num_programs(self) -> int:
        """How many programs the chunks needed."""
        return 2 * len(self._programs)

    def train(self, chunks: Sequence[Chunk], interrupted: threading.Event) -> Iterator[Trained]:
        """Train chunks, and yield what comes of them as they end; once interrupted, none is begun."""
        self._compile(chunks)
        waiting: list[Future] = [self._submit(self._run, chunk) for chunk in chunks]
        for future in as_completed(waiting):
            if interrupted.is_set():
                for other in waiting:
                    other.cancel()
            if not future.cancelled():
                yield future.result()

    def _submit(self, function: Callable, *args: Any) -> Future:
        # Within `jax.enable_x64`, 64-bit mode is this thread's own.
        x64 = jax.config.jax_enable_x64

        def run() -> Any:
            with jax.enable_x64(x64):
                return function(*args)

        return self._pool.submit(run)

    def _compile(self, chunks: Sequence[Chunk]) -> None:
        """Compile what the chunks need, several programs at once."""
        new = {_key(chunk, device): (chunk, device) for chunk in chunks for device in self._data}
        jobs = {
            key: (self._submit(self._begin_program, *what), self._submit(self._train_program, *what))
            for key, what in new.items()
            if key not in self._programs
        }
        self._programs |= {key: (begin.result(), train.result()) for key, (begin, train) in jobs.items()}

    def _begin_program(self, chunk: Chunk, device: jax.Device) -> Any:
        return chunk.group.programs.begin(device, _candidates(chunk))

    def _train_program(self, chunk: Chunk, device: jax.Device) -> Any:
        group = chunk.group
        plans = jax.ShapeDtypeStruct((self.longest, group.iterations, group.batch_size), np.int32)
        return group.programs.train(device, _candidates(chunk), self._data[device][0], plans)

    def _run(self, chunk: Chunk) -> Trained:
        device = self._free.get()
        try:
            by_fold = [self._run_fold(chunk, fold, device) for fold in range(len(self.folds))]
        finally:
            self._free.put(device)
        members, loss, val_acc = zip(*by_fold, strict=True)
        return Trained(
            chunk,
            [list(each) for each in zip(*members, strict=True)],
            np.stack(loss).transpose(2, 0, 1),
            np.stack(val_acc).transpose(2, 0, 1),
        )

    def _run_fold(self, chunk: Chunk, fold: int, device: jax.Device) -> tuple[list[Member], np.ndarray, np.ndarray]:
        begin, train = self._programs[_key(chunk, device)]
        candidates = _candidates(chunk)
        if chunk.members is None:
            members = begin(candidates)
        else:
            members = stack(_padded([member[fold] for member in chunk.members], chunk.width))
        numbers = map(np.int32, (chunk.first_epoch, chunk.num_epochs, self.patience))
        plans = self._plans_of(chunk, fold)
        members, loss, val_acc = jax.device_get(train(candidates, members, self._data[device][fold], plans, *numbers))
        count, epochs = len(chunk.numbers), chunk.num_epochs
        return unstack(members, count), loss[:epochs, :count], val_acc[:epochs, :count]

    def _plans_of(self, chunk: Chunk, fold: int) -> np.ndarray:
        group = chunk.group
        key = (fold, group.sampling, group.batch_size, chunk.first_epoch)
        with self._lock:
            if key not in self._plans:
                if len(self._plans) > 2 * len(self.folds):  # those of earlier rungs
                    self._plans.clear()
                self._plans[key] = self.folds[fold].plans(
                    group.sampling, group.batch_size, seed=self.seed, first_epoch=chunk.first_epoch, count=self.longest
                )
            return self._plans[key]


def _key(chunk: Chunk, device: jax.Device) -> tuple:
    return id(chunk.group), chunk.width, device


def _candidates(chunk: Chunk) -> Candidates:
    return chunk.group.stacked(_padded(list(chunk.numbers), chunk.width))


def _padded(items: list, width: int) -> list:
    """A list filled up with its last item."""
    return items + items[-1:] * (width - len(items))
