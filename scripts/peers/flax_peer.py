"""Flax NNX and Optax: a compiled step in a Python loop."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax import Array

from peers import Outcome
from peers.work import BATCHNORM_EPS, BATCHNORM_MOMENTUM, Data, Work


class Net(nnx.Module):
    """{linear - [batchnorm] - relu - [dropout]} × L - linear."""

    def __init__(self, work: Work, dims: tuple[int, int], rngs: nnx.Rngs) -> None:
        features, classes = dims
        layers = []
        for width in work.hidden_dims:
            layers.append(_linear(work, features, width, rngs))
            if work.batchnorm:
                layers.append(nnx.BatchNorm(width, momentum=BATCHNORM_MOMENTUM, epsilon=BATCHNORM_EPS, rngs=rngs))
            layers.append(nnx.relu)
            if work.keep_ratio is not None:
                layers.append(nnx.Dropout(1 - work.keep_ratio, rngs=rngs))
            features = width
        self.layers = nnx.Sequential(*layers, _linear(work, features, classes, rngs))

    def __call__(self, x: Array) -> Array:
        """Return the scores."""
        return self.layers(x)


def _linear(work: Work, fan_in: int, fan_out: int, rngs: nnx.Rngs) -> nnx.Linear:
    return nnx.Linear(fan_in, fan_out, kernel_init=nnx.initializers.normal(work.scale_of(fan_in)), rngs=rngs)


Inputs = tuple[Array, Array, Array, Array]


def train_step(model: Net, optimizer: nnx.Optimizer, inputs: Inputs, rows: Array) -> Array:
    """Gather a batch, normalize it, and take a step."""
    x, y, mean, scale = inputs

    def loss_of(model: Net) -> Array:
        scores = model((x[rows] - mean) * scale)
        return optax.softmax_cross_entropy_with_integer_labels(scores, y[rows]).mean()

    loss, grads = nnx.value_and_grad(loss_of)(model)
    optimizer.update(model, grads)
    return loss


def num_correct(model: Net, inputs: Inputs) -> Array:
    """How many rows the model, given in test mode, classifies right."""
    x, y, mean, scale = inputs
    return jnp.sum(model((x - mean) * scale).argmax(axis=1) == y)


class Flax:
    """Flax NNX; graph traversal, its cost per step, is cached, as its performance guide advises."""

    def __init__(self, work: Work, data: Data, variant: str) -> None:
        self.work, self.dims = work, data.dims
        normalizer = (jnp.asarray(data.mean), jnp.asarray(data.scale))
        self.inputs = (jnp.asarray(data.x), jnp.asarray(data.y), *normalizer)
        self.val_inputs = (jnp.asarray(data.x_val), jnp.asarray(data.y_val), *normalizer)
        # Made once: it is part of the compiled step's key, and compares by identity.
        self.rule = optax.adam(work.learning_rate) if work.rule == "adam" else optax.sgd(work.learning_rate, 0.9)
        if work.reg:
            # On the gradient, which is what the derivative of reg / 2 * sum(w ** 2) amounts to.
            weights = lambda params: jax.tree.map(lambda p: p.ndim == 2, params)  # noqa: E731
            self.rule = optax.chain(optax.add_decayed_weights(work.reg, weights), self.rule)
        self.step = nnx.jit(train_step, donate_argnums=(0, 1))
        self.num_correct = nnx.jit(num_correct)

    def start(self) -> None:
        """Draw new parameters."""
        self.model = Net(self.work, self.dims, nnx.Rngs(0))
        self.optimizer = nnx.Optimizer(self.model, self.rule, wrt=nnx.Param)

    def train(self, plans: np.ndarray) -> Outcome:
        """Train on, a step at a time."""
        losses, val_acc = [], None
        step = nnx.cached_partial(self.step, self.model, self.optimizer)
        for plan in plans:
            losses.extend(step(self.inputs, rows) for rows in plan)
            if self.work.whole_run:
                val_acc = self.accuracy()
        jax.block_until_ready((nnx.state(self.model), losses))
        return Outcome(np.asarray(jax.device_get(losses)), val_acc)

    def accuracy(self) -> float:
        """The accuracy of the parameters as they are."""
        test_model = nnx.view(self.model, deterministic=True, use_running_average=True, raise_if_not_found=False)
        return float(self.num_correct(test_model, self.val_inputs)) / len(self.val_inputs[0])
