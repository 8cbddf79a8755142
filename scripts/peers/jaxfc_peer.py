"""jaxfc: steps by `train_epochs`, whole runs by `fit`."""

from contextlib import nullcontext

import jax
import jax.numpy as jnp
import numpy as np

import jaxfc
from jaxfc.optim import rule
from jaxfc.train import Best, DeviceData, train_epochs
from jaxfc.vjp import plain_autodiff
from peers import Outcome
from peers.work import Data, Work


class Jaxfc:
    """jaxfc, by its hand-written gradients or (variant `"autodiff"`) by JAX's own."""

    def __init__(self, work: Work, data: Data, variant: str) -> None:
        self.work = work
        self.context = plain_autodiff if variant == "autodiff" else nullcontext
        features, classes = data.dims
        self.net = jaxfc.FCNet(
            features,
            work.hidden_dims,
            classes,
            normalization="batchnorm" if work.batchnorm else None,
            dropout_keep_ratio=work.keep_ratio,
            reg=work.reg or None,
            weight_scale=work.weight_scale or "he",
        )
        self.rule = rule(work.rule)
        self.hyper = {"learning_rate": work.learning_rate}
        normalizer = jaxfc.Normalizer(data.mean, data.scale)
        if work.whole_run:
            names = tuple(map(str, range(classes)))
            self.data = jaxfc.Dataset(
                work.dataset, data.x, data.y, data.x_val, data.y_val, None, None, names, normalizer
            )
        else:
            # `train_epochs` measures accuracies after each epoch. Where steps alone are timed, on a row each.
            arrays = (data.x, data.y, np.zeros(1, np.int32), data.x_val[:1], data.y_val[:1])
            self.data = jax.block_until_ready(
                DeviceData(jax.tree.map(jnp.asarray, normalizer), *map(jnp.asarray, arrays))
            )

    def start(self) -> None:
        """Draw new parameters; `fit` draws its own."""
        if self.work.whole_run:
            return
        self.state = jaxfc.init_state(self.net, self.rule, jax.random.key(0), **self.hyper)
        copy = jax.tree.map(jnp.copy, (self.state.params, self.state.stats))
        self.best = jax.block_until_ready(Best(*copy, jnp.float32(-1), jnp.int32(0)))

    def train(self, plans: np.ndarray) -> Outcome:
        """Train on, by a single compiled program; or run `fit`, which plans by itself."""
        with self.context():
            if self.work.whole_run:
                result = jaxfc.fit(
                    self.net,
                    self.rule,
                    self.data,
                    hyper=self.hyper,
                    epochs=len(plans),
                    batch_size=self.work.batch_size,
                    train_sample=1,  # the peers measure accuracy on the validation rows alone
                    verbose=False,
                    progress=False,
                )
                return Outcome(result.loss_history, float(result.val_acc_history[-1]))
            self.state, self.best, losses, _ = jax.block_until_ready(
                train_epochs(self.net, self.rule, self.state, self.best, self.data, plans, np.int32(1))
            )
        return Outcome(np.asarray(losses).ravel())
