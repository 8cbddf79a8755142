"""Lanes: threads that each train one chunk of a population after another."""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from jaxfc.data import Dataset
from jaxfc.parallel import whole_sharding
from jaxfc.search.candidates import Candidates, Group, stack, unstack
from jaxfc.search.folds import Fold, on_device
from jaxfc.search.population import Member, Programs, programs_of
from jaxfc.training.settings import RunSettings


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
    """What came of a chunk: for each candidate its members, and by fold its losses, validation scores and losses."""

    chunk: Chunk
    members: list[list[Member]]
    loss: np.ndarray
    val: np.ndarray
    val_loss: np.ndarray


class Lanes:
    """Threads that train chunks; a context manager.

    Args:
        mesh: the devices that the members of a chunk are divided among.
        programs: how many chunks are trained at once.
        data: the data.
        folds: its folds.
        settings: of the run: whose order of rows all candidates have.
        patience: of early stopping, in epochs.
        longest: the most epochs of a chunk: plans are padded to it, so that all lengths share a program.
    """

    def __init__(
        self,
        mesh: Mesh,
        programs: int,
        data: Dataset,
        folds: Sequence[Fold],
        *,
        settings: RunSettings,
        patience: int,
        longest: int,
    ) -> None:
        self.mesh, self.folds, self.patience, self.longest = mesh, folds, patience, longest
        self._data = on_device(data, list(folds), settings, whole_sharding(mesh))
        self._pool = ThreadPoolExecutor(programs)
        self._plans: dict[tuple, np.ndarray] = {}
        self._programs: dict[tuple, tuple[Any, Any]] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> "Lanes":
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self._pool.shutdown(wait=kind is None, cancel_futures=True)  # Ctrl-C, a second time, waits for no chunk

    @property
    def num_programs(self) -> int:
        """How many programs the chunks needed."""
        return 2 * len(self._programs)

    def train(self, chunks: Sequence[Chunk], interrupted: threading.Event) -> Iterator[Trained]:
        """Train chunks, and yield what comes of them as they end; once interrupted, none is begun."""
        self._compile(chunks)
        if interrupted.is_set():
            return
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
        new = {_key(chunk): chunk for chunk in chunks}
        jobs = {
            key: (self._submit(self._begin_program, chunk), self._submit(self._train_program, chunk))
            for key, chunk in new.items()
            if key not in self._programs
        }
        self._programs |= {key: (begin.result(), train.result()) for key, (begin, train) in jobs.items()}

    def _programs_of(self, chunk: Chunk) -> Programs:
        return programs_of(chunk.group.recipe, self.mesh)

    def _begin_program(self, chunk: Chunk) -> Any:
        return self._programs_of(chunk).begin(_candidates(chunk, 0))

    def _train_program(self, chunk: Chunk) -> Any:
        group = chunk.group
        plans = jax.ShapeDtypeStruct((self.longest, group.iterations, group.settings.batch_size), np.int32)
        return self._programs_of(chunk).train(_candidates(chunk, 0), self._data[0], plans)

    def _run(self, chunk: Chunk) -> Trained:
        by_fold = [self._run_fold(chunk, fold) for fold in range(len(self.folds))]
        members, *measured = zip(*by_fold, strict=True)
        by_candidate = [list(each) for each in zip(*members, strict=True)]
        return Trained(chunk, by_candidate, *(np.stack(each).transpose(2, 0, 1) for each in measured))

    def _run_fold(self, chunk: Chunk, fold: int) -> tuple:
        begin, train = self._programs[_key(chunk)]
        candidates = _candidates(chunk, fold)
        if chunk.members is None:
            members = begin(candidates)
        else:
            members = stack(_padded([member[fold] for member in chunk.members], chunk.width))
        numbers = map(np.int32, (chunk.first_epoch, chunk.num_epochs, self.patience))
        plans = self._plans_of(chunk, fold)
        trained = train(candidates, members, self._data[fold], plans, *numbers)
        members, *measured = jax.device_get(trained)
        count, epochs = len(chunk.numbers), chunk.num_epochs
        # Epochs that early stopping left out, or that come after a failure, took no steps.
        last = members.step[:count] // chunk.group.iterations
        ran = np.arange(chunk.first_epoch, chunk.first_epoch + epochs)[:, None] <= last[None, :]
        return unstack(members, count), *(np.where(ran, each[:epochs, :count], np.nan) for each in measured)

    def _plans_of(self, chunk: Chunk, fold: int) -> np.ndarray:
        group = chunk.group
        key = (fold, group.settings.sampling, group.settings.batch_size, chunk.first_epoch)
        with self._lock:
            if key not in self._plans:
                if len(self._plans) > 2 * len(self.folds):  # those of earlier rungs
                    self._plans.clear()
                self._plans[key] = self.folds[fold].plans(
                    group.settings, first_epoch=chunk.first_epoch, count=self.longest
                )
            return self._plans[key]


def _key(chunk: Chunk) -> tuple:
    return id(chunk.group), chunk.width


def _candidates(chunk: Chunk, fold: int) -> Candidates:
    return chunk.group.stacked(_padded(list(chunk.numbers), chunk.width), fold)


def _padded(items: list, width: int) -> list:
    """A list filled up with its last item."""
    return items + items[-1:] * (width - len(items))
