"""A network and an update rule that tell the compiler where their arrays lie.

Both are wrappers by the contracts of networks and of rules: a training's program is written for one device, and
becomes that of many by what it is given.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
from jax import lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxfc.networks import FCNet, Network, ResidualNet
from jaxfc.networks.contract import dtype
from jaxfc.optim import UpdateRule
from jaxfc.parallel.shardings import share_shardings, whole_shardings


@partial(jax.tree_util.register_dataclass, data_fields=["net"], meta_fields=["mesh"])
@dataclass(frozen=True)
class Constrained:
    """A network whose inputs and outputs are divided along `data`, row by row; what it offers else is the network's.

    Args:
        net: the network.
        mesh: the mesh.

    >>> from jaxfc.parallel import mesh_of
    >>> Constrained(FCNet(64, (20,), 10), mesh_of()).dims
    (64, 20, 10)
    """

    net: Network
    mesh: Mesh

    @property
    def input_dim(self) -> int:
        """The network's own."""
        return self.net.input_dim

    @property
    def output_dim(self) -> int:
        """The network's own."""
        return self.net.output_dim

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name in ("net", "mesh"):
            raise AttributeError(name)
        return getattr(self.net, name)

    def init(self, key: Any) -> tuple[Any, Any]:
        """The network's own."""
        return self.net.init(key)

    def apply(self, params: Any, stats: Any, x: Any, *, key: Any = None, train: bool = False) -> tuple[Any, Any]:
        """The network's own, with rows divided among devices."""
        rows = NamedSharding(self.mesh, PartitionSpec("data", None))
        x = lax.with_sharding_constraint(x, rows)
        outputs, stats = self.net.apply(self._gathered(params), stats, x, key=key, train=train)
        return lax.with_sharding_constraint(outputs, rows), stats

    def _gathered(self, params: Any) -> Any:
        whole = whole_shardings(self.mesh, self.net, params)
        shares = share_shardings(self.mesh, self.net, params)
        narrow = dtype(self.net) if isinstance(self.net, FCNet | ResidualNet) else None
        return jax.tree.map(lambda p, *how: _gather(p, narrow if p.ndim == 2 else None, *how), params, whole, shares)


@partial(jax.custom_vjp, nondiff_argnums=(1, 2, 3))
def _gather(p: Any, narrow: Any, whole: NamedSharding, share: NamedSharding) -> Any:
    """All of a parameter, of which every device has a share; its gradient is summed and divided again.

    What a network rounds to a narrower type before anything else is rounded before it is sent.
    """
    if narrow is None:
        return lax.with_sharding_constraint(p, whole)
    return lax.with_sharding_constraint(lax.with_sharding_constraint(p.astype(narrow), share), whole).astype(p.dtype)


def _gather_forward(p: Any, *how: Any) -> tuple[Any, None]:
    return _gather(p, *how), None


def _gather_backward(narrow: Any, whole: NamedSharding, share: NamedSharding, _: None, gradient: Any) -> tuple:
    # The sum over devices comes first: asked for a share at once, the compiler sends the factors of the product.
    return (lax.with_sharding_constraint(lax.with_sharding_constraint(gradient, whole), share),)


_gather.defvjp(_gather_forward, _gather_backward)


@dataclass(frozen=True)
class Divided:
    """A rule whose update is divided among the devices along `data`; its state is the rule's.

    Args:
        rule: the rule.
        net: the network whose parameters it updates.
        mesh: the mesh.

    >>> from jaxfc.optim import sgd
    >>> from jaxfc.parallel import mesh_of
    >>> rule = Divided(sgd, FCNet(2, (), 2), mesh_of())
    >>> params = {"w": jax.numpy.ones(2)}
    >>> print(rule(params, params, rule.init(params, learning_rate=0.5))[0]["w"])
    [0.5 0.5]
    """

    rule: UpdateRule
    net: Network
    mesh: Mesh

    def init(self, params: Any, **hyper: Any) -> Any:
        """The rule's own."""
        return self.rule.init(params, **hyper)

    def __call__(self, params: Any, grads: Any, state: Any) -> tuple[Any, Any]:
        """Apply the rule to each device's share."""
        trees = params, grads, state
        shared = lax.with_sharding_constraint(trees, share_shardings(self.mesh, self.net, trees))
        params, state = self.rule(*shared)
        after = params, state
        return lax.with_sharding_constraint(after, share_shardings(self.mesh, self.net, after))
