"""A network for tables that embeds columns before its first layer."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, Key, Num

from jaxfc import layers
from jaxfc.data import Dataset
from jaxfc.data.encoder import Encoder, Layout, smoothly_clipped
from jaxfc.description import number
from jaxfc.networks import blocks
from jaxfc.networks.contract import Network, Outputs, network
from jaxfc.networks.fcnet import FCNet

NUMBERS = ("plain", "periodic", "piecewise")
CATEGORIES = ("one-hot", "embed")
BINS = 16

# RealMLP's (Holzmüller et al., 2024): pytabkit's `plr_hidden_1`, `plr_hidden_2`, `plr_sigma`; `embedding_size`; and
# `max_one_hot_cat_size` without the one for missing values.
_WAVES, _OUT, _FREQUENCY = 16, 4, 0.1
_CATEGORY_DIM, _MOST_ONE_HOT = 8, 8

Params = dict[str, Any]


@network
class TableNet:
    r"""An `FCNet` behind embeddings of what a `jaxfc.data.Encoder` makes of a table's columns.

    Numbers (and dates, which are numbers of days) are taken as

    - `"plain"`: they are;
    - `"periodic"`: $\mathrm{relu}([\sin(2\pi c x), \cos(2\pi c x)]\, W + b)$, of 16 frequencies $c$ to 4 entries
      for each column, all learned, and the number beside (Gorishniy et al., 2022,
      https://arxiv.org/abs/2203.05556; sizes, scale and the number beside are RealMLP's, Holzmüller et al., 2024);
    - `"piecewise"`: how far they are through each of the column's bins, see `jaxfc.layers.piecewise_linear`. The bins'
      edges are quantiles of training rows, and constants.

    Of a category with more than 8 values, `"embed"` multiplies the inputs by a learned matrix to 8 entries
    (RealMLP's rule and size). All other inputs go on as they are.

    Args:
        layout: which inputs belong to which columns: the encoder's `layout`.
        hidden_dims: as in `FCNet`.
        output_dim: as in `FCNet`.
        numbers: `"plain"`, `"periodic"` or `"piecewise"`.
        categories: `"one-hot"` or `"embed"`.
        edges: of piecewise bins, `(numbers, bins + 1)`, ascending, in the encoder's units; a leaf. See `bin_edges`.
        normalization: as in `FCNet`, likewise those that follow.
        activation: of hidden layers.
        dropout_keep_ratio: of hidden layers.
        reg: over the weights of the `FCNet`.
        weight_scale: of the `FCNet`.
        norm_momentum: of batchnorm.
        norm_eps: of normalizations.
        param_dtype: of all parameters.
        compute_dtype: of activations and products.

    Raises:
        ValueError: an unknown name, edges that are missing, superfluous or of a wrong shape, or as `FCNet`.
        TypeError: a layout that is none, or as `FCNet`.

    >>> from jaxfc.data import recognize
    >>> layout = Layout.of(recognize({"size": [1.5, 3.5, 2.5], "colour": ["red", "blue", "green"]}))
    >>> net = TableNet(layout, (8,), 3, numbers="periodic")
    >>> net.input_dim, net.body.input_dim
    (4, 8)
    >>> net.apply(*net.init(jax.random.key(0)), jnp.ones((5, 4)))[0].shape
    (5, 3)
    """

    layout: Layout
    hidden_dims: Sequence[int]
    output_dim: int
    numbers: str = "plain"
    categories: str = "one-hot"
    edges: Any = number(None)
    normalization: str | None = None
    activation: str | Callable = "relu"
    dropout_keep_ratio: Any = number(None, low=0, high=1, exclude="low")
    reg: Any = number(None, low=0)
    weight_scale: Any = number("he", low=0)
    norm_momentum: Any = number(0.9, low=0, high=1)
    norm_eps: Any = number(1e-5, low=0, exclude="low")
    param_dtype: str = "float32"
    compute_dtype: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.layout, Layout):
            raise TypeError(f"layout={self.layout!r} must be the layout of a jaxfc.data.Encoder")
        blocks.check_name("numbers", self.numbers, NUMBERS)
        blocks.check_name("categories", self.categories, CATEGORIES)
        needs, count = self.numbers == "piecewise", len(self.layout.numbers)
        shape = np.shape(self.edges) if self.edges is not None else None
        if needs != (shape is not None) or (needs and (len(shape) != 2 or shape[0] != count or shape[1] < 2)):
            wanted = f"({count}, bins + 1)" if needs else "None"
            raise ValueError(f"edges have shape {shape}; with numbers={self.numbers!r} they must be {wanted}")
        _ = self.body  # whose fields are checked

    @classmethod
    def of(cls, data: Dataset, hidden_dims: Sequence[int], output_dim: int, **fields: Any) -> "TableNet":
        """The network for a data set of a table; piecewise bins are fitted to its training rows.

        Args:
            data: the data set.
            hidden_dims: the hidden layers' widths.
            output_dim: the number of outputs.
            **fields: the network's other fields.

        Raises:
            ValueError: its inputs are not made of a table's columns, or as for `TableNet`.
        """
        if not isinstance(data.normalizer, Encoder):
            raise ValueError(
                f"{data.name!r} is no table of columns, which numbers='periodic' or 'piecewise' and categories='embed' "
                "embed: leave them out (of a table of numbers alone, say so of one column: --column NAME=number)"
            )
        edges = bin_edges(data) if fields.get("numbers") == "piecewise" else None
        return cls(data.normalizer.layout, hidden_dims, output_dim, edges=edges, **fields)

    @property
    def input_dim(self) -> int:
        """The number of inputs that the encoder makes."""
        return self.layout.num_inputs

    @property
    def body(self) -> FCNet:
        """The network behind the embeddings."""
        entries = {
            "plain": 1,
            "periodic": 1 + _OUT,
            "piecewise": np.shape(self.edges)[-1] - 1 if np.ndim(self.edges) else 1,
        }
        count = len(self.layout.numbers)
        width = self.input_dim + (entries[self.numbers] - 1) * count
        width -= sum(end - start - _CATEGORY_DIM for start, end in self._embedded())
        names = (
            "normalization",
            "activation",
            "dropout_keep_ratio",
            "reg",
            "weight_scale",
            "norm_momentum",
            "norm_eps",
        )
        shared = {name: getattr(self, name) for name in (*names, "param_dtype", "compute_dtype")}
        return FCNet(width, self.hidden_dims, self.output_dim, **shared)

    @property
    def dtype(self) -> jnp.dtype:
        """The dtype of activations and matrix products."""
        return self.body.dtype

    @property
    def num_layers(self) -> int:
        """The number of layers, each of which a program spells out."""
        return self.body.num_layers + (self.numbers == "periodic") + len(self._embedded())

    @property
    def min_batch(self) -> int:
        """The least rows of a training batch."""
        return self.body.min_batch

    def _embedded(self) -> list[tuple[int, int]]:
        """The first input of each category that is embedded, and that after its last."""
        if self.categories == "one-hot":
            return []
        place, found = self.layout.num_inputs - sum(table.width for table in self.layout.tables), []
        for table in self.layout.tables:
            if table.categories > _MOST_ONE_HOT:
                found.append((place, place + table.width))
            place += table.width
        return found

    def init(self, key: Key[Array, ""]) -> tuple[Params, tuple]:
        """Draw initial parameters: `body`, those of the `FCNet`; `numbers`, if periodic; and `categories`.

        `numbers` are `frequencies` `(columns, 16)`, normal with a deviation of 0.1, `w` `(columns, 32, 4)` and `b`.
        `categories` has a matrix `(inputs, 8)` for each category embedded, standard normal.

        Raises:
            PrecisionError: a float64 network while JAX's 64-bit mode is off.
        """
        blocks.check_precision(self)
        dtype, count = jnp.dtype(self.param_dtype), len(self.layout.numbers)
        body, stats = self.body.init(key)
        params: Params = {"body": body}
        if self.numbers == "periodic":
            waves, w = (jax.random.fold_in(key, i) for i in range(2))
            params["numbers"] = {
                "frequencies": jnp.asarray(_FREQUENCY, dtype) * jax.random.normal(waves, (count, _WAVES), dtype),
                # Sine and cosine together have the variance that an input of 1 has, for each wave.
                "w": jnp.asarray(_WAVES**-0.5, dtype) * jax.random.normal(w, (count, 2 * _WAVES, _OUT), dtype),
                "b": jnp.zeros((count, _OUT), dtype),
            }
        if self.categories == "embed":
            params["categories"] = [
                jax.random.normal(jax.random.fold_in(key, 2 + i), (end - start, _CATEGORY_DIM), dtype)
                for i, (start, end) in enumerate(self._embedded())
            ]
        return params, stats

    def apply(
        self,
        params: Params,
        stats: tuple,
        x: Num[Array | np.ndarray, "batch features"],
        *,
        key: Any = None,
        train: bool = False,
    ) -> tuple[Outputs, tuple]:
        """Compute the outputs of a batch; arguments, results and errors are those of `FCNet.apply`."""
        body = self.body
        blocks.check_inputs(self, x, key, train=train, draws=self.dropout_keep_ratio is not None)
        return body.apply(params["body"], stats, self.embedded(params, x), key=key, train=train)

    def embedded(self, params: Params, x: Any) -> Float[Array, "batch entries"]:
        """What the first layer of the `FCNet` reads."""
        x = jnp.asarray(x).astype(self.dtype)
        parts = [self._numbers(params, x[:, : len(self.layout.numbers)])]
        place = len(self.layout.numbers)
        for i, (start, end) in enumerate(self._embedded()):
            none = jnp.zeros(_CATEGORY_DIM, x.dtype)
            parts += [x[:, place:start], layers.affine(x[:, start:end], params["categories"][i], none)]
            place = end
        return jnp.concatenate([*parts, x[:, place:]], axis=1)

    def _numbers(self, params: Params, x: Float[Array, "batch columns"]) -> Float[Array, "batch entries"]:
        if self.numbers == "plain" or not x.shape[1]:
            return x
        if self.numbers == "piecewise":
            entries = layers.piecewise_linear(x, self.edges)
            return entries.reshape(x.shape[0], entries.shape[1] * entries.shape[2])
        own = params["numbers"]
        entries = layers.relu(layers.columnwise_affine(layers.periodic(x, own["frequencies"]), own["w"], own["b"]))
        return jnp.concatenate([x, entries.reshape(x.shape[0], entries.shape[1] * _OUT)], axis=1)

    def penalty(self, params: Params) -> Float[Array, ""] | None:
        """The `FCNet`'s L2 term; embeddings have none."""
        return self.body.penalty(params["body"])


def bin_edges(data: Dataset, bins: int = BINS) -> Float32[np.ndarray, "numbers edges"]:
    """The edges of bins that hold about as many training rows each, as the encoder has numbers.

    Rows of weight 0 and missing values do not count. Where many rows have the same number, bins have no width; so their
    number, and with it a program's shapes, does not depend on the rows.

    Args:
        data: the data set of a table.
        bins: how many.

    >>> from jaxfc.data import recognize
    >>> table = {"size": np.arange(101.0)}
    >>> columns = recognize(table)
    >>> codes = columns.codes(table)
    >>> y = np.arange(101) % 2
    >>> data = Dataset("t", codes, y, codes, y, None, None, ("a", "b"), Encoder.fit(columns, codes))
    >>> bool(np.allclose(bin_edges(data, bins=2)[0], data.normalizer(codes[[0, 50, 100]])[:, 0], atol=1e-5))
    True
    """
    encoder = data.normalizer
    rows = np.ones(len(data.x_train), bool) if data.w_train is None else data.w_train > 0
    codes = np.asarray(data.x_train)[rows][:, np.array(encoder.layout.numbers, int)].astype(np.float64)
    made = np.zeros((len(encoder.layout.numbers), bins + 1))
    for i, column in enumerate(codes.T):
        known = column[~np.isnan(column)]
        if len(known):
            made[i] = np.quantile(known, np.linspace(0, 1, bins + 1))
    center, scale = (np.asarray(each, np.float64)[:, None] for each in (encoder.center, encoder.scale))
    return smoothly_clipped((made - center) * scale).astype(np.float32)


def with_edges(net: Network, of: Network) -> Network:
    """A network with another one's bins, where both have bins: what was learned of the one is of no use to others.

    >>> net = FCNet(4, (), 2)
    >>> with_edges(net, net) is net
    True
    """
    mine, other = getattr(net, "edges", None), getattr(of, "edges", None)
    return net if mine is None or other is None else replace(net, edges=other)
