"""jaxfc: steps by `train_program`, whole runs by `fit`."""

from contextlib import nullcontext

import jax
import jax.numpy as jnp
import numpy as np

import jaxfc
from jaxfc.layers.vjp import plain_autodiff
from jaxfc.objective import outputs_of
from jaxfc.optim import rule
from jaxfc.training.measuring import DeviceData
from jaxfc.training.program import NEVER, Recipe, begin, train_program
from jaxfc.training.streaming import Stream
from peers import Outcome
from peers.work import Data, Work


class Jaxfc:
    """jaxfc, by its hand-written gradients or (variant `"autodiff"`) by JAX's own, in float32 or `"bfloat16"`.

    In the variant `"streamed"` training rows stay on the host, and windows of an epoch go to the device.
    """

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
            compute_dtype="bfloat16" if variant == "bfloat16" else None,
        )
        self.task, self.rule = jaxfc.Classification(), rule(work.rule)
        self.hyper = {"learning_rate": work.learning_rate}
        self.normalizer = normalizer = jaxfc.Normalizer(data.mean, data.scale)
        self.val = (data.x_val, data.y_val)
        if work.whole_run:
            names = tuple(map(str, range(classes)))
            self.data = jaxfc.Dataset(
                work.dataset, data.x, data.y, data.x_val, data.y_val, None, None, names, normalizer
            )
        else:
            # `train_program` measures after each epoch. Where steps alone are timed, on a row each.
            self.stream, x, y = None, data.x, data.y
            if variant == "streamed":
                iterations = work.iterations or len(x) // work.batch_size
                self.stream = Stream(x, y, None, None, work.batch_size, iterations)
                x, y = x[:1], y[:1]
            rows = (x, y, None, data.x_val[:1], data.y_val[:1], None, np.zeros(1, np.int32))
            self.data = jax.block_until_ready(jax.device_put(DeviceData(normalizer, *rows, jax.random.key(0))))

    def start(self) -> None:
        """Draw new parameters; `fit` draws its own."""
        if self.work.whole_run:
            return
        state = jaxfc.init_state(self.net, self.rule, jax.random.key(0), **self.hyper)
        self.progress = jax.block_until_ready(begin(state))

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
            numbers = map(np.int32, (1, len(plans), NEVER))
            program = train_program if self.stream is None else self.stream.train
            self.progress, losses, _ = jax.block_until_ready(
                program(Recipe(self.rule), self.net, self.task, self.progress, self.data, plans, *numbers)
            )
        return Outcome(np.asarray(losses).ravel())

    def accuracy(self) -> float:
        """The accuracy of the parameters as they are."""
        state, (x, y) = self.progress.state, self.val
        outputs = outputs_of(self.net, state.params, state.stats, self.normalizer, jnp.asarray(x))
        return float(np.mean(np.asarray(outputs).argmax(axis=1) == y))
