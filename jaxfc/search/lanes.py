"""Lanes: threads that each train one chunk of a population after another, on all devices of a mesh together."""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxfc.data import Dataset
from jaxfc.search.candidates import Candidates, Group, stack, unstack
from jaxfc.search.folds import Fold, on_device
from jaxfc.search.population import Member, programs_of
from jaxfc.training.measuring import kept_params
from jaxfc.training.settings import RunSettings


class Chunk(NamedTuple):
    """Some of a group's candidates, to be trained together on every fold for some epochs.

    Args:
        group: the group.
        width: the number of members of the program to use, on all devices together; at least as many as candidates.
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


def at_the_end(trained: Trained) -> Trained:
    """What came of a chunk, with the parameters after its last epoch in the place of the best."""

    def ended(member: Member) -> Member:
        params, *raw = kept_params(jax.tree.map(jnp.asarray, member))
        kept = member.best._replace(params=params, stats=member.stats, raw=raw[0] if raw else ())
        return member._replace(best=kept)

    return trained._replace(members=[[ended(member) for member in each] for each in trained.members])


class Lanes:
    """Threads that train chunks; a context manager.

    Args:
        devices: the devices that a chunk's members are divided among.
        programs: how many chunks are trained at once.
        data: the data.
        folds: its folds.
        settings: of the run: whose order of rows all candidates have.
        patience: of early stopping, in epochs.
        longest: the most epochs of a chunk: plans are padded to it, so that all lengths share a program.
    """

    def __init__(
        self,
        devices: Sequence[jax.Device],
        programs: int,
        data: Dataset,
        folds: Sequence[Fold],
        *,
        settings: RunSettings,
        patience: int,
        longest: int,
    ) -> None:
        self.folds, self.patience, self.longest = folds, patience, longest
        self._data = {device: on_device(data, list(folds), settings, device) for device in devices}
        self._pool = ThreadPoolExecutor(programs)
        self._compilers = ThreadPoolExecutor(len(devices) * programs)
        self._plans: dict[tuple, np.ndarray] = {}
        self._programs: dict[tuple, tuple[Any, Any]] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> "Lanes":
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        for pool in (self._pool, self._compilers):
            pool.shutdown(wait=kind is None, cancel_futures=True)  # Ctrl-C, a second time, waits for no chunk

    @property
    def num_programs(self) -> int:
        """How many programs the chunks needed."""
        return 2 * len(self._programs)

    def train(self, chunks: Sequence[Chunk], interrupted: threading.Event) -> Iterator[Trained]:
        """Train chunks, and yield what comes of them as they end; once interrupted, none is begun."""
        self._compile(chunks)
        if interrupted.is_set():
            return
        waiting: list[Future] = [self._submit(self._pool, self._run, chunk) for chunk in chunks]
        for future in as_completed(waiting):
            if interrupted.is_set():
                for other in waiting:
                    other.cancel()
            if not future.cancelled():
                yield future.result()

    def _submit(self, pool: ThreadPoolExecutor, function: Callable, *args: Any) -> Future:
        # Within `jax.enable_x64`, 64-bit mode is this thread's own.
        x64 = jax.config.jax_enable_x64

        def run() -> Any:
            with jax.enable_x64(x64):
                return function(*args)

        return pool.submit(run)

    def _compile(self, chunks: Sequence[Chunk]) -> None:
        """Compile what the chunks need, several programs at once."""
        new = {_key(chunk, device): (chunk, device) for chunk in chunks for device in self._data}
        for chunk in chunks:  # here, not in the threads: two that ask the cache at once would make two of one
            programs_of(chunk.group.recipe)
        both = self._begin_program, self._train_program
        jobs = {
            key: [self._submit(self._compilers, program, *what) for program in both]
            for key, what in new.items()
            if key not in self._programs
        }
        self._programs |= {key: tuple(job.result() for job in pair) for key, pair in jobs.items()}

    def _begin_program(self, chunk: Chunk, device: jax.Device) -> Any:
        return programs_of(chunk.group.recipe).begin(device, _candidates(chunk, 0, self._share(chunk, 0)))

    def _train_program(self, chunk: Chunk, device: jax.Device) -> Any:
        group = chunk.group
        plans = jax.ShapeDtypeStruct((self.longest, group.iterations, group.settings.batch_size), np.int32)
        share = _candidates(chunk, 0, self._share(chunk, 0))
        return programs_of(group.recipe).train(device, share, self._data[device][0], plans)

    def _share(self, chunk: Chunk, place: int) -> slice:
        """Which of a chunk's members the device at a place trains."""
        width = chunk.width // len(self._data)
        return slice(place * width, (place + 1) * width)

    def _run(self, chunk: Chunk) -> Trained:
        by_fold = [self._run_fold(chunk, fold) for fold in range(len(self.folds))]
        members, *measured = zip(*by_fold, strict=True)
        by_candidate = [list(each) for each in zip(*members, strict=True)]
        return Trained(chunk, by_candidate, *(np.stack(each).transpose(2, 0, 1) for each in measured))

    def _run_fold(self, chunk: Chunk, fold: int) -> tuple:
        """Train a chunk on a fold: every device begins with its share before the first is waited for."""
        shares = [(device, self._share(chunk, place)) for place, device in enumerate(self._data)]
        begun = [self._begin(chunk, fold, *each) for each in shares if each[1].start < len(chunk.numbers)]
        epochs = np.arange(chunk.first_epoch, chunk.first_epoch + chunk.num_epochs)
        members: list[Member] = []
        measured: list[list[np.ndarray]] = []
        for trained in begun:
            mine, *numbers = jax.device_get(trained)
            members += unstack(mine, len(numbers[0][0]))
            # Epochs that early stopping left out, or that come after a failure, took no steps.
            ran = epochs[:, None] <= (mine.step // chunk.group.iterations)[None, :]
            measured.append([np.where(ran, each[: len(epochs)], np.nan) for each in numbers])
        count = len(chunk.numbers)
        joined = (np.concatenate(each, axis=1) for each in zip(*measured, strict=True))
        return members[:count], *(each[:, :count] for each in joined)

    def _begin(self, chunk: Chunk, fold: int, device: jax.Device, share: slice) -> tuple:
        """Have a device train its share; what comes of it is not waited for."""
        begin, train = self._programs[_key(chunk, device)]
        candidates = _candidates(chunk, fold, share)
        if chunk.members is None:
            members = begin(candidates)
        else:
            members = stack(_padded([member[fold] for member in chunk.members], chunk.width)[share])
        numbers = map(np.int32, (chunk.first_epoch, chunk.num_epochs, self.patience))
        return train(candidates, members, self._data[device][fold], self._plans_of(chunk, fold), *numbers)

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


def _key(chunk: Chunk, device: jax.Device) -> tuple:
    return id(chunk.group), chunk.width, device


def _candidates(chunk: Chunk, fold: int, share: slice) -> Candidates:
    return chunk.group.stacked(_padded(list(chunk.numbers), chunk.width)[share], fold)


def _padded(items: list, width: int) -> list:
    """A list filled up with its last item."""
    return items + items[-1:] * (width - len(items))
