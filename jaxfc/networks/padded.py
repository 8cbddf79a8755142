r"""A fully-connected network inside a larger one, so that networks of several widths and depths are one program.

Every layer has the width of the widest network's, and there are as many as the deepest has. Which units are
a network's own is a number, not a shape. What pads is zero and stays zero: weights, biases, gamma and beta
around a network's own are 0, activations are set to 0 where no unit stands, so that no gradient gets there,
and a rule that leaves zeros with zero gradients alone (see `jaxfc.optim.UpdateRule`) does the rest. The
network's own numbers are those that it has unpadded: initial weights but for their last bit, all that follows up
to the rounding of longer sums.

Two things take care. A layer's units lie in four quarters, each filled up at its end, because the bits of a
dropout mask lie so (see `jaxfc.layers.threefry`): then a mask falls on the same units, whatever the layer is
padded to. And the last layer reads the last hidden layer that a network has; those after it are zeros.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key, Num

from jaxfc.networks import blocks
from jaxfc.networks.blocks import Layer, RunningStats
from jaxfc.networks.contract import Cost, Outputs

if TYPE_CHECKING:
    from jaxfc.networks.fcnet import FCNet

Units = tuple[Any, Any]
"""For each place in a layer the number of the unit that stands there, and whether one does."""


def units(width: Any, places: int) -> Units:
    """Which unit of a layer stands at each of its places, in a layer padded to a multiple of four.

    Args:
        width: the number of units; may be traced.
        places: the number of places.

    >>> number, there = units(3, 8)
    >>> number[there], np.flatnonzero(there)
    (array([0, 1, 2], dtype=int32), array([0, 2, 4]))
    """
    place = np.arange(places, dtype=np.int32)
    quarter, within = -(-width // 4), place % (places // 4)
    number = place // (places // 4) * quarter + within
    return number, (within < quarter) & (number < width)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class PaddedFCNet:
    """An `FCNet` padded to the size of a family of them; `jaxfc.FCNet.padded` makes it.

    Args:
        largest: a network of the padded widths, with this network's numbers (its `weight_scale` is not used).
        widths: the network's own hidden widths; 0 for a layer that it does not have.
        scales: for each layer the standard deviation of its initial weights.
        last_dim: the padded width of what the last layer reads.
        least_depth: how many hidden layers every network of the family has.
        draws: how many weights the network of the family with the most has.

    >>> from jaxfc import FCNet
    >>> few, many = (FCNet(4, dims, 3) for dims in ((2,), (5, 6)))
    >>> net = few.padded([few, many])
    >>> net.largest.hidden_dims, net.widths.tolist(), net.last_dim
    ((8, 8), [2, 0], 8)
    >>> params, stats = net.init(jax.random.key(0))
    >>> own, _ = net.cut(params, stats)
    >>> bool((own[0]["w"] == few.init(jax.random.key(0))[0][0]["w"]).all())
    True
    """

    largest: "FCNet"
    widths: Any
    scales: Any
    last_dim: int = field(metadata={"static": True})
    least_depth: int = field(metadata={"static": True})
    draws: int = field(metadata={"static": True})

    @property
    def input_dim(self) -> int:
        """The number of input features."""
        return self.largest.input_dim

    @property
    def output_dim(self) -> int:
        """The number of outputs."""
        return self.largest.output_dim

    @property
    def dtype(self) -> jnp.dtype:
        """The dtype of activations and matrix products."""
        return self.largest.dtype

    @property
    def param_dtype(self) -> str:
        """The dtype of parameters."""
        return self.largest.param_dtype

    @property
    def first_shape(self) -> tuple[int, int]:
        """The shape of the first layer's weights."""
        return self.largest.first_shape

    @property
    def min_batch(self) -> int:
        """The least rows of a training batch."""
        return self.largest.min_batch

    def _layers(self) -> list[tuple[Units, Units, Any, Any]]:
        """For each layer the units of its inputs and outputs, and how many of each there are."""
        count = np if isinstance(self.widths, np.ndarray) else jnp
        depth = count.count_nonzero(self.widths)
        last = self.widths[depth - 1]
        own = [self.widths[i] for i in range(len(self.largest.hidden_dims))]
        places = [units(width, padded) for width, padded in zip(own, self.largest.hidden_dims, strict=True)]
        every = [(np.arange(size, dtype=np.int32), np.ones(size, bool)) for size in (self.input_dim, self.output_dim)]
        inputs = [every[0], *places[:-1], units(last, self.last_dim)]
        fans = [*itertools.pairwise([self.input_dim, *own]), (last, self.output_dim)]
        return [(*ends, *fan) for *ends, fan in zip(inputs, [*places, every[1]], fans, strict=True)]

    def init(self, key: Key[Array, ""]) -> tuple[list[Layer], tuple[RunningStats, ...]]:
        """Draw the initial parameters that the network has unpadded, with zeros around them.

        The draws of `FCNet.init` are one flat array: an entry does not depend on how many there are.
        """
        blocks.check_precision(self.largest)
        net, dtype = self.largest, jnp.dtype(self.largest.param_dtype)
        draws = jax.random.normal(key, (self.draws,), dtype)
        params, stats, before = [], [], 0
        for i, ((row, row_there), (column, there), fan_in, fan_out) in enumerate(self._layers()):
            place = before + row[:, None] * fan_out + column[None, :]
            drawn = jnp.asarray(self.scales[i], dtype) * draws.at[place].get(mode="clip")
            w = jnp.where(row_there[:, None] & there[None, :], drawn, 0)
            layer = {"w": w, "b": jnp.zeros(w.shape[1], dtype)}
            if i < len(net.hidden_dims):
                ones_and_zeros = blocks.norm_parameters(net.normalization, w.shape[1], dtype)
                layer |= {name: jnp.where(there, value, 0) for name, value in ones_and_zeros.items()}
                stats += blocks.norm_stats(net.normalization, w.shape[1], dtype)
            params.append(layer)
            before = before + fan_in * fan_out
        return params, tuple(stats)

    def apply(
        self,
        params: list[Layer],
        stats: tuple[RunningStats, ...],
        x: Num[Array | np.ndarray, "batch features"],
        *,
        key: Key[Array, ""] | None = None,
        train: bool = False,
    ) -> tuple[Outputs, tuple[RunningStats, ...]]:
        """Compute the outputs of a batch; arguments, results and errors are those of `FCNet.apply`."""
        net = self.largest
        x = net.inputs(x, key, train=train)
        depth = jnp.count_nonzero(self.widths)
        last, new_stats = None, []
        for i, layer in enumerate(params[:-1]):
            _, there = units(self.widths[i], net.hidden_dims[i])
            x, running = net.hidden_layer(i, layer, stats, x, key, train=train, counted=jnp.asarray(there))
            new_stats += running
            if i + 1 == self.least_depth:
                last = _moved(x, self.last_dim)
            elif i + 1 > self.least_depth:
                last = jnp.where(depth == i + 1, _moved(x, self.last_dim), last)
        return net.outputs(params[-1], last), tuple(new_stats)

    def penalty(self, params: list[Layer]) -> Float[Array, ""] | None:
        r"""The L2 term of the network, to which zeros add nothing; None without one."""
        return self.largest.penalty(params)

    def cost(self) -> Cost:
        """What the padded network costs."""
        cost, more = self.largest.cost(), self.last_dim - self.largest.hidden_dims[-1]
        head = more * self.output_dim
        moved = self.last_dim * self.dtype.itemsize
        return Cost(cost.parameters + head, cost.flops + 2 * head, cost.activation_bytes + moved)

    def cut(self, params: Any, stats: Any) -> tuple[list[dict[str, np.ndarray]], tuple[RunningStats, ...]]:
        """The parameters and statistics of the network's own, on the host, without what pads them."""
        *hidden, head = self._layers()
        depth = int(np.count_nonzero(self.widths))
        own = []
        for ((_, rows), (_, columns), *_), layer in zip(
            [*hidden[:depth], head], [*params[:depth], params[-1]], strict=True
        ):
            whole = {name: np.asarray(value) for name, value in layer.items()}
            own.append(
                {name: value[..., columns] for name, value in whole.items()} | {"w": whole["w"][rows][:, columns]}
            )
        columns = [there for _, (_, there), *_ in hidden]
        kept = zip(stats[:depth], columns, strict=False)
        return own, tuple(RunningStats(*(np.asarray(each)[there] for each in running)) for running, there in kept)


def pad(net: "FCNet", family: Sequence["FCNet"]) -> PaddedFCNet:
    """A network padded to the size of a family of networks, of which it is one.

    >>> from jaxfc import FCNet
    >>> family = [FCNet(4, dims, 3) for dims in ((2,), (5, 6))]
    >>> pad(family[0], family).draws
    68
    """
    depth = max(len(each.hidden_dims) for each in family)
    every = itertools.zip_longest(*(each.hidden_dims for each in family), fillvalue=0)
    hidden_dims = tuple(_of_four(max(widths)) for widths in every)
    fans = list(itertools.pairwise(net.dims))
    scales = [blocks.initial_scale(net.weight_scale, *fan) for fan in fans]
    missing = depth - len(net.hidden_dims)
    return PaddedFCNet(
        replace(net, hidden_dims=hidden_dims, weight_scale=None),
        np.array([*net.hidden_dims, *[0] * missing], np.int32),
        np.array([*scales[:-1], *[0.0] * missing, scales[-1]]),
        _of_four(max(each.hidden_dims[-1] for each in family)),
        min(len(each.hidden_dims) for each in family),
        max(sum(a * b for a, b in itertools.pairwise(each.dims)) for each in family),
    )


def _of_four(width: int) -> int:
    return -(-width // 4) * 4


def _moved(x: Float[Array, "batch features"], places: int) -> Float[Array, "batch places"]:
    """Activations with their quarters as long as a layer of so many places has them."""
    batch, width = x.shape
    if width == places:
        return x
    quarters = x.reshape(batch, 4, width // 4)[:, :, : places // 4]
    more = places // 4 - quarters.shape[2]
    return jnp.pad(quarters, ((0, 0), (0, 0), (0, more))).reshape(batch, places)
