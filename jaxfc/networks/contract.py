"""What a network is: a description with `init` and `apply`.

    @jaxfc.network
    class Bilinear:
        input_dim: int
        output_dim: int
        rank: int = 8
        scale: float = jaxfc.number(0.1, low=0)

        def init(self, key):
            u, v = jax.random.normal(key, (2, self.input_dim, self.rank)) * self.scale
            return {"u": u, "v": v, "w": jnp.zeros((self.rank, self.output_dim))}, ()

        def apply(self, params, stats, x, *, key=None, train=False):
            return (x @ params["u"]) * (x @ params["v"]) @ params["w"], stats

is all that `fit`, `search`, ensembles, checkpoints, model files, `summary` and `gradcheck` ask for. What a
network may offer beside it, each with a default for those that do not:

- `cost()`: a `Cost`, for memory estimates and plans;
- `penalty(params)`: a term of the training loss, such as L2;
- `dtype`: the type its inputs are handed over in (float32);
- `num_layers`: how many layers a program spells out one after another, so that what would take minutes to compile
  is refused (1);
- `min_batch`: the least rows of a training batch (1; batchnorm needs 2);
- `first_shape`: the shape of the weights that multiply the inputs, so that a population, whose members see
  the same batch, has them as one matrix;
- `rows()`: the lines of its `summary`;
- `family` and `padded(family)`: networks of which `family` is the same hashable value (and not None) can share
  a program in a search, whatever their sizes: `padded`, given them all, returns the network in a form whose
  shapes they have in common, and `cut(params, stats)` of that form returns, on the host, the network's own.
"""

from typing import Any, NamedTuple, Protocol, TypeVar, dataclass_transform, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key, Num, PyTree, Shaped

from jaxfc.description import described, number

Params = PyTree[Float[Array, "..."]]
Stats = PyTree[Shaped[Array, "..."]]
Outputs = Float[Array, "batch outputs"]
T = TypeVar("T")


@runtime_checkable
class Network(Protocol):
    """What every network offers.

    >>> from jaxfc import FCNet
    >>> isinstance(FCNet(4, (8,), 3), Network)
    True
    """

    input_dim: int
    output_dim: int

    def init(self, key: Key[Array, ""]) -> tuple[Params, Stats]:
        """Draw initial parameters, and whatever running statistics there are (`()` for none)."""

    def apply(self, params: Params, stats: Stats, x: Num[Array, "batch features"], *, key: Any, train: bool) -> tuple:
        """Return `(outputs, stats)`: outputs `(batch, output_dim)`, statistics updated in training mode."""


@dataclass_transform(frozen_default=True, field_specifiers=(number,))
def network(cls: type[T]) -> type[T]:
    """Make a class with `init` and `apply` a network: a frozen dataclass and a pytree; see `jaxfc.description`.

    Raises:
        TypeError: it lacks a field or a method that every network has.

    >>> @network
    ... class Linear:
    ...     input_dim: int
    ...     output_dim: int
    ...     def init(self, key):
    ...         return jnp.zeros((self.input_dim, self.output_dim)), ()
    ...     def apply(self, params, stats, x, *, key=None, train=False):
    ...         return x @ params, stats
    >>> print(summary(Linear(4, 3)))
    parameter  shape   parameters
    params     (4, 3)          12
    total                      12
    """
    made = described(cls)
    for name in ("input_dim", "output_dim", "init", "apply"):
        if name not in made.__dataclass_fields__ and not hasattr(made, name):
            raise TypeError(f"network {cls.__name__} lacks {name}: see jaxfc.networks.contract for what it must offer")
    return made


class Cost(NamedTuple):
    """What a network costs: its parameters, and for each row the operations and the bytes of a forward pass.

    >>> from jaxfc import FCNet
    >>> cost(FCNet(4, (8,), 3))
    Cost(parameters=67, flops=112, activation_bytes=76)
    """

    parameters: int
    flops: int
    activation_bytes: int


def cost(net: Network) -> Cost:
    """A network's own `cost()`; without one, an estimate from its parameters and its traced program.

    >>> from jaxfc import FCNet
    >>> cost(FCNet(64, (100,), 10)).flops
    14800
    """
    if hasattr(net, "cost"):
        return net.cost()
    params, stats = shapes(net)
    leaves = jax.tree.leaves(params)
    x = jax.ShapeDtypeStruct((1, net.input_dim), dtype(net))
    traced = jax.make_jaxpr(lambda *args: net.apply(*args, key=jax.random.key(0), train=True))(params, stats, x)
    values = [v.aval for equation in traced.eqns for v in equation.outvars if v.aval.shape[:1] == (1,)]
    flops = 2 * sum(leaf.size for leaf in leaves if leaf.ndim > 1)
    return Cost(sum(leaf.size for leaf in leaves), flops, sum(v.size * v.dtype.itemsize for v in values))


def penalty(net: Network, params: Params) -> Any:
    r"""A network's term of the training loss, such as $\tfrac\lambda2 \sum w^2$; None where it has none.

    >>> from jaxfc import FCNet, init
    >>> net = FCNet(4, (), 3, reg=0.5, weight_scale=0.0)
    >>> print(penalty(net, init(net, jax.random.key(0))[0]))
    0.0
    """
    return net.penalty(params) if hasattr(net, "penalty") else None


def dtype(net: Network) -> np.dtype:
    """The type that a network's inputs are handed over in.

    >>> from jaxfc import FCNet
    >>> dtype(FCNet(4, (), 3, param_dtype="bfloat16")).name
    'bfloat16'
    """
    return np.dtype(getattr(net, "dtype", np.float32))


def shapes(net: Network) -> tuple[Any, Any]:
    """The shapes of a network's parameters and statistics.

    >>> from jaxfc import FCNet
    >>> shapes(FCNet(4, (), 3))[0][0]["w"].shape
    (4, 3)
    """
    return jax.eval_shape(lambda: net.init(jax.random.key(0)))


def init(net: Network, key: Key[Array, ""]) -> tuple[Params, Stats]:
    """Draw a network's initial parameters and statistics, `net.init(key)`.

    >>> from jaxfc import FCNet
    >>> params, stats = init(FCNet(4, (8,), 3, normalization="layernorm"), jax.random.key(0))
    >>> [{name: value.shape for name, value in layer.items()} for layer in params]
    [{'w': (4, 8), 'b': (8,), 'gamma': (8,), 'beta': (8,)}, {'w': (8, 3), 'b': (3,)}]
    """
    return net.init(key)


def apply(
    net: Network,
    params: Params,
    stats: Stats,
    x: Num[Array | np.ndarray, "batch features"],
    *,
    key: Any = None,
    train: bool = False,
) -> tuple[Outputs, Stats]:
    """A network's outputs for a batch, and its statistics: `net.apply(params, stats, x, ...)`.

    >>> from jaxfc import FCNet
    >>> net = FCNet(4, (8,), 3)
    >>> outputs, stats = apply(net, *init(net, jax.random.key(0)), jnp.ones((5, 4)))
    >>> outputs.shape
    (5, 3)
    """
    return net.apply(params, stats, x, key=key, train=train)


_CHECKED: set[Any] = set()


def check_network(net: Network) -> None:
    """Raise unless what `init` and `apply` return fits the contract; nothing is computed.

    Raises:
        TypeError: it is no network.
        ValueError: outputs of another shape than `(batch, output_dim)`, or statistics that change their structure.

    >>> from jaxfc import FCNet
    >>> check_network(FCNet(4, (8,), 3))
    """
    if not isinstance(net, Network):
        raise TypeError(f"{type(net).__name__} is no network: decorate its class with jaxfc.network")
    seen = jax.tree.structure(net), jax.config.jax_enable_x64
    if seen in _CHECKED:  # candidates of a search differ in numbers, by the hundred
        return
    params, stats = shapes(net)
    rows = max(getattr(net, "min_batch", 1), 2)
    x = jax.ShapeDtypeStruct((rows, net.input_dim), dtype(net))
    name = type(net).__name__
    for train in (True, False):
        outputs, after = jax.eval_shape(
            lambda p, s, x, train=train: net.apply(p, s, x, key=jax.random.key(0), train=train), params, stats, x
        )
        if getattr(outputs, "shape", None) != (rows, net.output_dim):
            raise ValueError(
                f"apply of {name} returns outputs of shape {getattr(outputs, 'shape', type(outputs).__name__)} for "
                f"{rows} rows; need (batch, output_dim), here ({rows}, {net.output_dim})"
            )
        if not jnp.issubdtype(outputs.dtype, jnp.floating):
            raise ValueError(f"apply of {name} returns outputs of type {outputs.dtype}; need floating point")
        if jax.tree.map(_kind, after) != jax.tree.map(_kind, stats):
            raise ValueError(f"apply of {name} returns other statistics than init: return stats as they came, or new")
    _CHECKED.add(seen)


def _kind(leaf: Any) -> tuple:
    return leaf.shape, str(leaf.dtype)


def summary(net: Network) -> str:
    """A table of a network's layers or parameters, and how many numbers they hold.

    >>> from jaxfc import FCNet
    >>> print(summary(FCNet(64, (100,), 10, normalization="layernorm")))
    layer            output      parameters
    affine           (N, 100)         6,500
    layernorm, relu  (N, 100)           200
    affine           (N, 10)          1,010
    total                             7,710
    """
    if hasattr(net, "rows"):
        head, rows = ("layer", "output", "parameters"), net.rows()
    else:
        leaves, _ = jax.tree_util.tree_flatten_with_path(shapes(net)[0])
        name = jax.tree_util.keystr
        head = ("parameter", "shape", "parameters")
        rows = [(name(path, simple=True, separator=".") or "params", str(v.shape), v.size) for path, v in leaves]
    total = sum(count for *_, count in rows)
    first, second = (max(len(row[i]) for row in [head, *rows]) + 2 for i in (0, 1))
    second = max(second, 10) if hasattr(net, "rows") else second
    third = max(len(f"{total:,}"), len(head[2]) + 2 if hasattr(net, "rows") else len(head[2]))
    lines = [f"{head[0]:<{first}}{head[1]:<{second}}{head[2]:>{third}}"]
    lines += [f"{name:<{first}}{shape:<{second}}{count:>{third},}" for name, shape, count in rows]
    lines.append(f"{'total':<{first + second}}{total:>{third},}")
    return "\n".join(lines)
