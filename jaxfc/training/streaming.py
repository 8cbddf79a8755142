"""Training on rows that stay on the host: windows of an epoch are sent to the device while the last one computes.

A window is the batches of some iterations, in the order of the plan. To the program it is data like any other, with
a plan that goes through its rows in turn; so each step is the one that it is where all rows are on the device,
to the last bit. Between windows only the training's state is kept.

Over a mesh, each device along `data` is sent its part of each batch; a process reads the rows of its own devices.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float

from jaxfc.data import Dataset, Encoding
from jaxfc.data.file_rows import FileRows
from jaxfc.layers.common import wider
from jaxfc.memory import free_bytes, in_units
from jaxfc.networks import Network
from jaxfc.networks.contract import dtype
from jaxfc.objective import ROWS, outputs_of
from jaxfc.parallel import DividedRows, Shardings, divided_batches, places_sharding, put, row_sharding, shapes_of
from jaxfc.tasks import Task
from jaxfc.training.measuring import DeviceData, Measures, kept_params, measure
from jaxfc.training.program import Progress, Recipe, begin, begin_measured, end_epoch, take_steps
from jaxfc.training.step import TrainState

WINDOW_BYTES = 2**25  # of inputs in a window; some windows are in memory at once
VAL_BYTES = 2**28  # of validation inputs: more of them than that are measured window by window as well
SHARE = 0.5  # of a device's free memory that inputs may take before they are streamed

T = TypeVar("T")
U = TypeVar("U")


def streams(data: Dataset, asked: bool | None = None) -> bool:
    """Whether a training leaves its rows on the host.

    Args:
        data: the data set.
        asked: what the user says; by default rows that are in a file stay there, and so do rows that would take
            more than half of the device's free memory.

    >>> from jaxfc import load
    >>> streams(load("digits")), streams(load("digits"), True)
    (False, True)
    """
    if asked is not None:
        return asked
    on_host = isinstance(data.x_train, FileRows)
    return on_host or data.x_train.nbytes + data.x_val.nbytes > SHARE * free_bytes(jax.local_devices()[0])


def window_length(iterations: int, batch_bytes: int) -> int:
    """The number of iterations in a window: a quarter of an epoch, or fewer where these are too many bytes.

    Where some number divides the epoch, it is that one, and all windows share a program. No window has a single
    iteration: its program would be another one than that of an epoch, a loop that is none.

    >>> [window_length(*each) for each in ((96, 1), (96, 2**22), (97, 2**22), (7, 2**25), (1, 1))]
    [24, 8, 7, 4, 1]
    """
    most = max(min(WINDOW_BYTES // batch_bytes, -(-iterations // 4)), 2)
    fit = (n for n in range(most, most // 2, -1) if n > 1 and iterations % n == 0)
    fit_in_two = (n for n in (*range(most, 1, -1), *range(most, iterations)) if iterations % n != 1)
    return next(fit, None) or next(fit_in_two, iterations)


def finish_epoch(
    net: Network, task: Task, progress: Progress, losses: Any, data: DeviceData, number: Any, val: tuple = ()
) -> tuple[Progress, Float[Array, "1 iterations"], Measures]:
    """Measure after an epoch's last window, and keep the best parameters.

    Args:
        net: the network.
        task: the task.
        progress: the training before the epoch, with the state after its last window.
        losses: the windows' losses.
        data: what is measured on.
        number: the epoch's.
        val: the outputs for the validation rows, chunk by chunk, where these are not in `data`.

    >>> from jaxfc import Classification, FCNet, init_state
    >>> from jaxfc.optim import sgd
    >>> x, y = jnp.eye(2), jnp.array([0, 1])
    >>> from jaxfc.data import Normalizer
    >>> data = DeviceData(Normalizer(jnp.zeros(2), jnp.ones(())), x, y, None, x, y, None, None, jax.random.key(0))
    >>> net = FCNet(2, (), 2)
    >>> run = begin(init_state(net, sgd, jax.random.key(0)))
    >>> finish_epoch(net, Classification(), run, (jnp.ones(3), jnp.ones(2)), data, 1)[1].shape
    (1, 5)
    """
    losses = jnp.concatenate(losses)
    measured = measure(net, task, progress.state, data, _joined(val, data))
    after, measured = end_epoch(task, progress, progress.state, losses, measured, number)
    return after, losses[None], jax.tree.map(lambda each: each[None], measured)


@cache
def _programs(structure: Any, leaves: tuple, numbers: Any) -> tuple[Callable, Callable]:
    """`take_steps` and `finish_epoch`, compiled. Over a mesh, what they return comes back to where it was."""
    window, epoch = {}, {}
    if structure is not None:
        progress = structure.unflatten(leaves)
        window, epoch = {"out_shardings": (progress.state, numbers)}, {"out_shardings": (progress, numbers, numbers)}
    return (
        jax.jit(take_steps, static_argnames=("recipe", "population"), donate_argnames="states", **window),
        jax.jit(finish_epoch, donate_argnames="progress", **epoch),
    )


@jax.jit
def _begin(net: Network, task: Task, state: TrainState, data: DeviceData, val: tuple) -> tuple[Progress, Measures]:
    return begin(state), measure(net, task, state, data, _joined(val, data))


@jax.jit
def _outputs(net: Network, state: TrainState, normalizer: Encoding, x: Any) -> tuple[Array, ...]:
    return tuple(outputs_of(net, params, state.stats, normalizer, x) for params in kept_params(state))


def _joined(chunks: tuple, data: DeviceData) -> tuple:
    """The outputs of chunks, without the rows that filled up the last."""
    return tuple(jnp.concatenate(each)[: len(data.y_val)] for each in zip(*chunks, strict=True))


@dataclass(frozen=True)
class Stream:
    """The rows of a training that stay on the host.

    Args:
        x: the training rows' inputs.
        y: their targets.
        weights: their weights, or None.
        x_val: the validation rows' inputs where they stay on the host too, else None.
        batch_size: rows in a batch.
        iterations: batches in an epoch.
        mesh: the devices that each batch is divided among; None for one.
        where: where a training's arrays lie on them.

    >>> x, y = np.ones((100, 4), np.float32), np.zeros(100, np.int32)
    >>> stream = Stream(x, y, None, None, batch_size=10, iterations=10)
    >>> stream.window, str(stream)
    (2, 'streaming: 5 windows of at most 2 batches in an epoch, 320 bytes each')
    """

    x: Any
    y: np.ndarray
    weights: np.ndarray | None
    x_val: Any
    batch_size: int
    iterations: int
    mesh: Mesh | None = None
    where: Shardings | None = None

    @classmethod
    def of(cls, rows: DeviceData, batch_size: int) -> tuple["Stream", DeviceData]:
        """Part what stays on the host from what goes to the device: what a training is measured on.

        >>> from jaxfc import FCNet, load
        >>> from jaxfc.training.prepare import prepare
        >>> from jaxfc.training.settings import RunSettings
        >>> rows = prepare(FCNet(64, (), 10), "adam", load("digits"), RunSettings()).rows
        >>> stream, measured = Stream.of(rows, batch_size=32)
        >>> len(stream.x), len(measured.x), len(measured.x_val)
        (1297, 1000, 200)
        """
        sample = rows.sample
        measured = rows._replace(
            x=np.asarray(rows.x[sample]),
            y=rows.y[sample],
            weights=None if rows.weights is None else rows.weights[sample],
            sample=np.arange(len(sample), dtype=np.int32),
        )
        much = rows.x_val.nbytes > VAL_BYTES and len(rows.x_val) > ROWS
        iterations = len(rows.x) // batch_size
        stream = cls(rows.x, rows.y, rows.weights, rows.x_val if much else None, batch_size, iterations)
        return stream, measured if much else measured._replace(x_val=np.asarray(rows.x_val))

    def over(self, mesh: Mesh, where: Shardings | None) -> "Stream":
        """The same, sent to the devices of a mesh; see `jaxfc.training.spread`.

        >>> from jaxfc.parallel import mesh_of
        >>> Stream(np.ones((4, 2)), np.ones(4), None, None, 2, 2).over(mesh_of(), None).mesh is None
        True
        """
        return self if where is None else replace(self, mesh=mesh, where=where)

    def beside(self, rows: DeviceData) -> DeviceData:
        """What goes to the device, of what is measured on."""
        return rows if self.x_val is None else rows._replace(x_val=None)

    @property
    def window(self) -> int:
        """Iterations in a window; the last may have fewer."""
        return window_length(self.iterations, self._batch_bytes)

    @property
    def _batch_bytes(self) -> int:
        return max(self.batch_size * self.x.shape[1] * self.x.dtype.itemsize, 1)

    @property
    def form(self) -> tuple:
        """What tells programs apart, beside their other arguments."""
        return self.iterations, self.window, self.x.shape[1], self.x.dtype, self.weights is None, self.x_val is None

    def __str__(self) -> str:
        count = -(-self.iterations // self.window)
        size = in_units(self.window * self._batch_bytes)
        return f"streaming: {count} windows of at most {self.window} batches in an epoch, {size} each"

    # The two programs of a training, as `jaxfc.training.program` has them for rows on the device.

    def begin(self, net: Network, task: Task, state: TrainState, data: DeviceData) -> tuple[Progress, Measures]:
        """A training before its first epoch; see `jaxfc.training.program.begin_measured`."""
        if self.x_val is None:
            return begin_measured(net, task, state, data)
        return _begin(net, task, state, data, self._outputs(net, state, data))

    def train(
        self,
        recipe: Recipe,
        net: Network,
        task: Task,
        progress: Progress,
        data: DeviceData,
        plans: np.ndarray,
        first_epoch: Any,
        *_: Any,
    ) -> tuple[Progress, Float[Array, "1 iterations"], Measures]:
        """Train for an epoch; see `jaxfc.training.program.train_epochs`.

        Early stopping is the caller's to see to, who is asked after each epoch.
        """
        (plan,) = plans
        train, finish = self._compiled
        state, losses = progress.state, []
        done = (int(first_epoch) - 1) * len(plan)
        starts = range(0, len(plan), self.window)
        for window, in_turn in ahead(partial(self._window, plan, data), starts):
            state, loss = train(recipe, net, task, state, window, in_turn, np.int32(done))
            losses.append(jax.block_until_ready(loss))  # no more than two windows are on the device
            done += len(in_turn)
            del window  # nor kept while another one is made
        progress = progress._replace(state=state)
        return finish(net, task, progress, tuple(losses), data, np.int32(first_epoch), self._outputs(net, state, data))

    @property
    def _compiled(self) -> tuple[Callable, Callable]:
        if self.where is None:
            return _programs(None, (), None)
        leaves, structure = jax.tree.flatten(self.where.progress)
        return _programs(structure, tuple(leaves), self.where.numbers)

    def lowered(
        self, recipe: Recipe, net: Network, task: Task, progress: Progress, data: DeviceData
    ) -> Iterator[jax.stages.Lowered]:
        """The programs of an epoch, from the shapes of a training and of data, to be compiled."""
        train, finish = self._compiled
        where, number = self.where, np.int32(1)
        progress = shapes_of(progress, where and where.progress)
        lengths = [min(self.window, self.iterations - start) for start in range(0, self.iterations, self.window)]
        for length in dict.fromkeys(lengths):
            x, y, weights = (self._rows_like(length, each) for each in (self.x, self.y, self.weights))
            window = DeviceData(shapes_of(data.normalizer), x, y, weights, None, None, None, None, data.key)
            at = None if self.mesh is None else places_sharding(self.mesh)
            plan = shapes_of(jax.ShapeDtypeStruct((length, self.batch_size), np.int32), at)
            yield train.lower(recipe, net, task, progress.state, window, plan, number)
        losses = tuple(jax.ShapeDtypeStruct((length,), wider(dtype(net))) for length in lengths)
        losses = shapes_of(losses, where and where.numbers)
        if self.x_val is None:
            yield finish.lower(net, task, progress, losses, shapes_of(data, where and where.data), number, ())

    def _rows_like(self, length: int, array: Any) -> Any:
        """The shape of a window's rows, of so many iterations."""
        if array is None:
            return None
        shape = jax.ShapeDtypeStruct((length * self.batch_size, *array.shape[1:]), array.dtype)
        return shape if self.mesh is None else DividedRows(shapes_of(shape, row_sharding(self.mesh)), self.mesh)

    def _window(self, plan: np.ndarray, data: DeviceData, start: int) -> tuple[DeviceData, Any]:
        """A window's rows on the device, from an iteration on, and the plan that goes through them in turn."""
        batches = plan[start : start + self.window]

        def take(rows: np.ndarray) -> tuple:
            return np.asarray(self.x[rows]), self.y[rows], None if self.weights is None else self.weights[rows]

        if self.mesh is None:
            in_turn = np.arange(batches.size, dtype=np.int32).reshape(batches.shape)
            arrays = self._on_device(take(batches.ravel()), data)
        else:
            arrays, in_turn = divided_batches(take, batches, self.mesh)
        window = DeviceData(data.normalizer, *jax.block_until_ready(arrays), None, None, None, None, data.key)
        return window, in_turn

    def _outputs(self, net: Network, state: TrainState, data: DeviceData) -> tuple:
        """The outputs for validation rows that stay on the host, chunk by chunk."""
        if self.x_val is None:
            return ()
        row_bytes = max(self.x_val.nbytes // len(self.x_val), 1)
        size = ROWS * max(WINDOW_BYTES // (ROWS * row_bytes), 2)

        def chunk(start: int) -> Array:
            x = np.asarray(self.x_val[start : start + size])
            return self._on_device(np.pad(x, ((0, size - len(x)), (0, 0))), data)

        chunks = ahead(chunk, range(0, len(self.x_val), size))
        return tuple(jax.block_until_ready(_outputs(net, state, data.normalizer, x)) for x in chunks)

    def _on_device(self, arrays: Any, data: DeviceData) -> Any:
        """Arrays where the data are, whole."""
        like = data.y_val
        return jax.block_until_ready(put(arrays, like.sharding if like.committed else None))


def ahead(make: Callable[[T], U], items: Iterable[T]) -> Iterator[U]:
    """Make something of each item, in a thread, one ahead of the one that is in use.

    >>> list(ahead(str, range(3)))
    ['0', '1', '2']
    """
    x64 = jax.config.jax_enable_x64  # within `jax.enable_x64`, 64-bit mode is a thread's own

    def run(item: T) -> U:
        with jax.enable_x64(x64):
            return make(item)

    waiting: deque = deque()
    with ThreadPoolExecutor(1, "reader") as reader:
        for item in items:
            waiting.append(reader.submit(run, item))
            if len(waiting) > 1:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
