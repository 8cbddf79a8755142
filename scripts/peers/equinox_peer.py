"""Equinox and Optax: a compiled step in a Python loop."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from peers import Outcome
from peers.work import BATCHNORM_EPS, BATCHNORM_MOMENTUM, Data, Work


class Net(eqx.Module):
    """{linear - [batchnorm] - relu - [dropout]} × L - linear, of a single row as Equinox has it."""

    linears: list[eqx.nn.Linear]
    norms: list[eqx.nn.BatchNorm]
    dropout: eqx.nn.Dropout | None

    def __init__(self, work: Work, dims: tuple[int, int], key: Array) -> None:
        features, classes = dims
        widths = (features, *work.hidden_dims, classes)
        keys = jax.random.split(key, len(widths))
        self.linears = [_linear(work, *pair) for pair in zip(widths[:-1], widths[1:], keys[1:], strict=True)]
        norm = {"axis_name": "batch", "eps": BATCHNORM_EPS, "momentum": BATCHNORM_MOMENTUM, "mode": "batch"}
        self.norms = [eqx.nn.BatchNorm(width, **norm) for width in work.hidden_dims] if work.batchnorm else []
        self.dropout = None if work.keep_ratio is None else eqx.nn.Dropout(1 - work.keep_ratio)

    def __call__(self, x: Array, state: eqx.nn.State, key: Array | None) -> tuple[Array, eqx.nn.State]:
        """Return a row's scores and the running statistics."""
        for i, linear in enumerate(self.linears[:-1]):
            x = linear(x)
            if self.norms:
                x, state = self.norms[i](x, state)
            x = jax.nn.relu(x)
            if self.dropout is not None:
                x = self.dropout(x, key=None if key is None else jax.random.fold_in(key, i))
        return self.linears[-1](x), state


def _linear(work: Work, fan_in: int, fan_out: int, key: Array) -> eqx.nn.Linear:
    weight = work.scale_of(fan_in) * jax.random.normal(key, (fan_out, fan_in))
    return eqx.tree_at(
        lambda layer: (layer.weight, layer.bias), eqx.nn.Linear(fan_in, fan_out, key=key), (weight, jnp.zeros(fan_out))
    )


Inputs = tuple[Array, Array, Array, Array]


def _scores(model: Net, state: eqx.nn.State, x: Array, keys: Array | None) -> tuple[Array, eqx.nn.State]:
    in_axes = (0, None, None if keys is None else 0)
    return jax.vmap(model, axis_name="batch", in_axes=in_axes, out_axes=(0, None))(x, state, keys)


@eqx.filter_jit(donate="all-except-first")
def train_step(fixed: tuple[Inputs, Array, Any], model: Net, state: eqx.nn.State, opt_state: Any, key: Array) -> tuple:
    """Gather a batch, normalize it, and take a step."""
    (x, y, mean, scale), rows, rule = fixed
    key, subkey = jax.random.split(key)

    def loss_of(model: Net) -> tuple[Array, eqx.nn.State]:
        keys = None if model.dropout is None else jax.random.split(subkey, len(rows))
        scores, new_state = _scores(model, state, (x[rows] - mean) * scale, keys)
        return optax.softmax_cross_entropy_with_integer_labels(scores, y[rows]).mean(), new_state

    (loss, state), grads = eqx.filter_value_and_grad(loss_of, has_aux=True)(model)
    updates, opt_state = rule.update(grads, opt_state, eqx.filter(model, eqx.is_inexact_array))
    return eqx.apply_updates(model, updates), state, opt_state, key, loss


@eqx.filter_jit
def num_correct(model: Net, state: eqx.nn.State, inputs: Inputs) -> Array:
    """How many rows the model, given in test mode, classifies right."""
    x, y, mean, scale = inputs
    scores, _ = _scores(model, state, (x - mean) * scale, None)
    return jnp.sum(scores.argmax(axis=1) == y)


class Equinox:
    """Equinox."""

    def __init__(self, work: Work, data: Data, variant: str) -> None:
        self.work, self.dims = work, data.dims
        normalizer = (jnp.asarray(data.mean), jnp.asarray(data.scale))
        self.inputs = (jnp.asarray(data.x), jnp.asarray(data.y), *normalizer)
        self.val_inputs = (jnp.asarray(data.x_val), jnp.asarray(data.y_val), *normalizer)
        self.rule = optax.adam(work.learning_rate) if work.rule == "adam" else optax.sgd(work.learning_rate, 0.9)
        if work.reg:
            # On the gradient, which is what the derivative of reg / 2 * sum(w ** 2) amounts to.
            weights = lambda params: jax.tree.map(lambda p: p.ndim == 2, params)  # noqa: E731
            self.rule = optax.chain(optax.add_decayed_weights(work.reg, weights), self.rule)

    def start(self) -> None:
        """Draw new parameters."""
        model, state = eqx.nn.make_with_state(Net)(self.work, self.dims, jax.random.key(0))
        opt_state = self.rule.init(eqx.filter(model, eqx.is_inexact_array))
        self.carry = (model, state, opt_state, jax.random.key(1))

    def train(self, plans: np.ndarray) -> Outcome:
        """Train on, a step at a time."""
        losses, val_acc = [], None
        carry = self.carry
        for plan in plans:
            for rows in plan:
                *carry, loss = train_step((self.inputs, rows, self.rule), *carry)
                losses.append(loss)
            self.carry = carry
            if self.work.whole_run:
                val_acc = self.accuracy()
        jax.block_until_ready((eqx.filter(carry, eqx.is_array), losses))
        return Outcome(np.asarray(jax.device_get(losses)), val_acc)

    def accuracy(self) -> float:
        """The accuracy of the parameters as they are."""
        model, state, *_ = self.carry
        return float(num_correct(eqx.nn.inference_mode(model), state, self.val_inputs)) / len(self.val_inputs[0])
