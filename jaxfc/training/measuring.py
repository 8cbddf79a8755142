"""What a training's programs read, and measuring what was trained."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Integer, Key, Num

from jaxfc.data import Encoding
from jaxfc.networks import Network
from jaxfc.networks.contract import Params
from jaxfc.objective import outputs_of
from jaxfc.optim import averages
from jaxfc.tasks import Task
from jaxfc.training.step import TrainState


class DeviceData(NamedTuple):
    """What a program reads, on the device.

    `sample` are the indices of the training rows on which the training score is measured (None: it is not),
    `key` is that of augmentations; weights are None where examples have none.

    >>> x, y = jnp.eye(2), jnp.array([0, 1])
    >>> from jaxfc.data import Normalizer
    >>> data = DeviceData(Normalizer(jnp.zeros(2), jnp.ones(())), x, y, None, x, y, None, None, jax.random.key(0))
    >>> data.x_val.shape
    (2, 2)
    """

    normalizer: Encoding
    x: Num[Array, "rows features"]
    y: Num[Array, "rows *outputs"]
    weights: Float[Array, " rows"] | None
    x_val: Num[Array, "val features"]
    y_val: Num[Array, "val *outputs"]
    weights_val: Float[Array, " val"] | None
    sample: Integer[Array, " sample"] | None
    key: Key[Array, ""]


class Measures(NamedTuple):
    """What is measured after an epoch.

    The score on the training sample (None without one), score and loss on the validation rows, and the score of
    raw parameters where the others are averages (else None).

    >>> Measures(*jnp.zeros((4, 3))).val.shape
    (3,)
    """

    train: Float[Array, "*epochs_members"] | None
    val: Float[Array, "*epochs_members"]
    val_loss: Float[Array, "*epochs_members"]
    val_raw: Float[Array, "*epochs_members"] | None


def kept_params(state: Any) -> tuple[Params, ...]:
    """What is measured and kept: averages of the parameters and the raw ones; or the parameters alone.

    `state` is a `TrainState`, or else what has its `params` and `opt_state`.

    >>> from jaxfc import FCNet, init_state
    >>> from jaxfc.optim import sgd
    >>> len(kept_params(init_state(FCNet(2, (), 2), sgd, jax.random.key(0))))
    1
    """
    average = averages(state.opt_state)
    if average is None:
        return (state.params,)

    def one(p: Array, average: Array | None) -> Array:
        return p if average is None else average.astype(p.dtype)  # a group of parameters may have none

    return jax.tree.map(one, state.params, average), state.params


def measure(net: Network, task: Task, state: TrainState, data: DeviceData, val: tuple = ()) -> Measures:
    """Measure parameters, or their averages where the rule keeps some.

    `val` are the outputs for the validation rows of each of `kept_params`, where they are known.

    >>> from jaxfc import FCNet
    >>> from jaxfc.optim import sgd
    >>> from jaxfc.training.step import init_state
    >>> from jaxfc.tasks import Classification
    >>> x, y = jnp.eye(2), jnp.array([0, 1])
    >>> from jaxfc.data import Normalizer
    >>> data = DeviceData(Normalizer(jnp.zeros(2), jnp.ones(())), x, y, None, x, y, None, None, jax.random.key(0))
    >>> net = FCNet(2, (), 2, weight_scale=0.0)
    >>> print(measure(net, Classification(), init_state(net, sgd, jax.random.key(0)), data).val)
    0.5
    """
    kept = kept_params(state)

    def outputs(params: Params, x: Array) -> Array:
        return outputs_of(net, params, state.stats, data.normalizer, x)

    val = val or tuple(outputs(params, data.x_val) for params in kept)
    train = raw = None
    if data.sample is not None:
        weights = None if data.weights is None else data.weights[data.sample]
        train = task.score(outputs(kept[0], data.x[data.sample]), data.y[data.sample], weights)
    if len(val) > 1:
        raw = task.score(val[1], data.y_val, data.weights_val)
    score, loss = (of(val[0], data.y_val, data.weights_val) for of in (task.score, task.loss))
    return jax.tree.map(lambda each: jnp.asarray(each, jnp.float32), Measures(train, score, loss, raw))
