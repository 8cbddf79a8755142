"""The CS231n assignment's fully-connected network in plain NumPy, written from the mathematics.

An oracle for the tests and a peer of the benchmark: it shares no code with jaxfc. Names, arguments and
the use of NumPy's global random stream are the assignment's; a loss computed here is, from the same
seed, the one that its notebook prints.
"""

# ruff: noqa: NPY002 - the assignment draws from the global stream

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np

Array = np.ndarray

# ---------------------------------------------------------------------------------------------------
# Layers
# ---------------------------------------------------------------------------------------------------


def affine_forward(x: Array, w: Array, b: Array) -> tuple[Array, tuple]:
    """`y = x w + b`, where each row of `x`, of any shape, is one long vector."""
    return x.reshape(len(x), -1) @ w + b, (x, w, b)


def affine_backward(dout: Array, cache: tuple, *, need_dx: bool = True) -> tuple[Array | None, Array, Array]:
    """`dx = dy wᵀ`, `dw = xᵀ dy`, `db = Σ dy`; `need_dx=False` spares a first layer its largest product."""
    x, w, _ = cache
    dx = (dout @ w.T).reshape(x.shape) if need_dx else None
    return dx, x.reshape(len(x), -1).T @ dout, dout.sum(axis=0)


def relu_forward(x: Array) -> tuple[Array, Array]:
    """`y = max(x, 0)`."""
    return np.maximum(x, 0), x


def relu_backward(dout: Array, cache: Array) -> Array:
    """`dx = dy [x > 0]`."""
    return dout * (cache > 0)


def batchnorm_forward(x: Array, gamma: Array, beta: Array, bn_param: dict[str, Any]) -> tuple[Array, tuple | None]:
    """Normalize each feature, by the batch in mode "train" and by the running averages in mode "test"."""
    mode, eps, momentum = bn_param["mode"], bn_param.get("eps", 1e-5), bn_param.get("momentum", 0.9)
    running_mean = bn_param.get("running_mean", np.zeros(x.shape[1], x.dtype))
    running_var = bn_param.get("running_var", np.zeros(x.shape[1], x.dtype))
    cache = None
    if mode == "train":
        mean, var = x.mean(axis=0), x.var(axis=0)
        inv_std = 1 / np.sqrt(var + eps)
        normalized = (x - mean) * inv_std
        cache = (normalized, inv_std, gamma)
        running_mean = momentum * running_mean + (1 - momentum) * mean
        running_var = momentum * running_var + (1 - momentum) * var
    elif mode == "test":
        normalized = (x - running_mean) / np.sqrt(running_var + eps)
    else:
        raise ValueError(f'Invalid forward batchnorm mode "{mode}"')
    bn_param["running_mean"], bn_param["running_var"] = running_mean, running_var
    return gamma * normalized + beta, cache


def batchnorm_backward(dout: Array, cache: tuple) -> tuple[Array, Array, Array]:
    """`dx = γ s / N (N dy - dβ - x̂ dγ)`: mean and variance depend on every row."""
    normalized, inv_std, gamma = cache
    dgamma, dbeta = (dout * normalized).sum(axis=0), dout.sum(axis=0)
    dx = gamma * inv_std * (dout - (dbeta + normalized * dgamma) / len(dout))
    return dx, dgamma, dbeta


def layernorm_forward(x: Array, gamma: Array, beta: Array, ln_param: dict[str, Any]) -> tuple[Array, tuple]:
    """Normalize each row by its own mean and variance."""
    inv_std = 1 / np.sqrt(x.var(axis=1, keepdims=True) + ln_param.get("eps", 1e-5))
    normalized = (x - x.mean(axis=1, keepdims=True)) * inv_std
    return gamma * normalized + beta, (normalized, inv_std, gamma)


def layernorm_backward(dout: Array, cache: tuple) -> tuple[Array, Array, Array]:
    """As batchnorm's, along the other axis; γ now differs within a sum and stays inside."""
    normalized, inv_std, gamma = cache
    dnormalized = dout * gamma
    mean = dnormalized.mean(axis=1, keepdims=True)
    component = (dnormalized * normalized).mean(axis=1, keepdims=True)
    dx = inv_std * (dnormalized - mean - normalized * component)
    return dx, (dout * normalized).sum(axis=0), dout.sum(axis=0)


def dropout_forward(x: Array, dropout_param: dict[str, Any]) -> tuple[Array, tuple]:
    """Inverted dropout; `p` is the probability to keep."""
    if "seed" in dropout_param:
        np.random.seed(dropout_param["seed"])
    if dropout_param["mode"] != "train":
        return x, (dropout_param, None)
    p = dropout_param["p"]
    mask = np.random.rand(*x.shape) < p
    return x * mask / p, (dropout_param, mask)


def dropout_backward(dout: Array, cache: tuple) -> Array:
    """The same mask again."""
    dropout_param, mask = cache
    return dout if mask is None else dout * mask / dropout_param["p"]


def softmax_loss(x: Array, y: Array) -> tuple[float, Array]:
    """Mean cross-entropy of the scores' softmax, and its gradient `(p - onehot) / N`."""
    rows = np.arange(len(x))
    shifted = x - x.max(axis=1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    dx = np.exp(log_p)
    dx[rows, y] -= 1
    return -log_p[rows, y].mean(), dx / len(x)


def svm_loss(x: Array, y: Array) -> tuple[float, Array]:
    """Mean over rows of the summed hinges `max(0, s_c - s_y + 1)`, and its gradient."""
    rows = np.arange(len(x))
    margins = np.maximum(x - x[rows, y][:, None] + 1, 0)
    margins[rows, y] = 0
    dx = (margins > 0).astype(x.dtype)
    dx[rows, y] = -dx.sum(axis=1)
    return margins.sum() / len(x), dx / len(x)


# ---------------------------------------------------------------------------------------------------
# The network
# ---------------------------------------------------------------------------------------------------


class FullyConnectedNet:
    """{affine - [batchnorm / layernorm] - relu - [dropout]} × (L - 1) - affine - softmax."""

    def __init__(
        self,
        hidden_dims: list[int],
        input_dim: int = 3 * 32 * 32,
        num_classes: int = 10,
        dropout_keep_ratio: float = 1,
        normalization: str | None = None,
        reg: float = 0.0,
        weight_scale: float = 1e-2,
        dtype: type = np.float32,
        seed: int | None = None,
    ) -> None:
        self.normalization = normalization
        self.use_dropout = dropout_keep_ratio != 1
        self.reg = reg
        self.dtype = dtype
        dims = [input_dim, *hidden_dims, num_classes]
        self.num_layers = len(dims) - 1
        self.params: dict[str, Array] = {}
        for i in range(1, self.num_layers + 1):
            self.params[f"W{i}"] = (weight_scale * np.random.randn(dims[i - 1], dims[i])).astype(dtype)
            self.params[f"b{i}"] = np.zeros(dims[i], dtype)
            if normalization and i < self.num_layers:
                self.params[f"gamma{i}"] = np.ones(dims[i], dtype)
                self.params[f"beta{i}"] = np.zeros(dims[i], dtype)
        self.dropout_param: dict[str, Any] = {}
        if self.use_dropout:
            self.dropout_param = {"mode": "train", "p": dropout_keep_ratio} | ({} if seed is None else {"seed": seed})
        self.bn_params: list[dict[str, Any]] = []
        if normalization:
            self.bn_params = [{"mode": "train"} if normalization == "batchnorm" else {} for _ in hidden_dims]

    def loss(self, X: Array, y: Array | None = None) -> Any:
        """Return test-mode scores without `y`, and with it the training loss and its gradients."""
        mode = "test" if y is None else "train"
        self.dropout_param["mode"] = mode
        if self.normalization == "batchnorm":
            for bn_param in self.bn_params:
                bn_param["mode"] = mode
        scores, caches = self._forward(X.astype(self.dtype, copy=False))
        if y is None:
            return scores
        loss, dscores = softmax_loss(scores, y)
        grads = self._backward(dscores, caches)
        for i in range(1, self.num_layers + 1):
            w = self.params[f"W{i}"]
            loss += 0.5 * self.reg * np.sum(w * w)
            grads[f"W{i}"] += self.reg * w
        return loss, grads

    def _forward(self, x: Array) -> tuple[Array, list[dict[str, Any]]]:
        params, caches = self.params, []
        for i in range(1, self.num_layers):
            cache: dict[str, Any] = {}
            x, cache["affine"] = affine_forward(x, params[f"W{i}"], params[f"b{i}"])
            if self.normalization:
                forward = batchnorm_forward if self.normalization == "batchnorm" else layernorm_forward
                x, cache["norm"] = forward(x, params[f"gamma{i}"], params[f"beta{i}"], self.bn_params[i - 1])
            x, cache["relu"] = relu_forward(x)
            if self.use_dropout:
                x, cache["dropout"] = dropout_forward(x, self.dropout_param)
            caches.append(cache)
        last = self.num_layers
        scores, cache = affine_forward(x, params[f"W{last}"], params[f"b{last}"])
        return scores, [*caches, {"affine": cache}]

    def _backward(self, dout: Array, caches: list[dict[str, Any]]) -> dict[str, Array]:
        grads: dict[str, Array] = {}
        for i in range(self.num_layers, 0, -1):
            cache = caches[i - 1]
            if "dropout" in cache:
                dout = dropout_backward(dout, cache["dropout"])
            if "relu" in cache:
                dout = relu_backward(dout, cache["relu"])
            if "norm" in cache:
                backward = batchnorm_backward if self.normalization == "batchnorm" else layernorm_backward
                dout, grads[f"gamma{i}"], grads[f"beta{i}"] = backward(dout, cache["norm"])
            dout, grads[f"W{i}"], grads[f"b{i}"] = affine_backward(dout, cache["affine"], need_dx=i > 1)
        return grads


# ---------------------------------------------------------------------------------------------------
# Update rules: rule(w, dw, config) -> (next_w, config), the config changed in place
# ---------------------------------------------------------------------------------------------------


def _filled(config: dict[str, Any] | None, w: Array, *slots: str, **defaults: float) -> dict[str, Any]:
    config = {} if config is None else config
    for name in slots:
        if name not in config:
            config[name] = np.zeros_like(w)
    for name, value in defaults.items():
        config.setdefault(name, value)
    return config


def sgd(w: Array, dw: Array, config: dict[str, Any] | None = None) -> tuple[Array, dict[str, Any]]:
    """`w ← w - η g`."""
    config = _filled(config, w, learning_rate=1e-2)
    return w - config["learning_rate"] * dw, config


def sgd_momentum(w: Array, dw: Array, config: dict[str, Any] | None = None) -> tuple[Array, dict[str, Any]]:
    """`v ← μ v - η g`, `w ← w + v`."""
    config = _filled(config, w, "velocity", learning_rate=1e-2, momentum=0.9)
    config["velocity"] = config["momentum"] * config["velocity"] - config["learning_rate"] * dw
    return w + config["velocity"], config


def rmsprop(w: Array, dw: Array, config: dict[str, Any] | None = None) -> tuple[Array, dict[str, Any]]:
    """`c ← ρ c + (1 - ρ) g²`, `w ← w - η g / (√c + ε)`."""
    config = _filled(config, w, "cache", learning_rate=1e-2, decay_rate=0.99, epsilon=1e-8)
    rho = config["decay_rate"]
    config["cache"] = rho * config["cache"] + (1 - rho) * (dw * dw)
    return w - config["learning_rate"] * dw / (np.sqrt(config["cache"]) + config["epsilon"]), config


def adam(w: Array, dw: Array, config: dict[str, Any] | None = None) -> tuple[Array, dict[str, Any]]:
    """Adam with bias correction; the step's number counts from 1."""
    config = _filled(config, w, "m", "v", learning_rate=1e-3, beta1=0.9, beta2=0.999, epsilon=1e-8, t=0)
    beta1, beta2 = config["beta1"], config["beta2"]
    config["t"] += 1
    config["m"] = beta1 * config["m"] + (1 - beta1) * dw
    config["v"] = beta2 * config["v"] + (1 - beta2) * (dw * dw)
    m_hat = config["m"] / (1 - beta1 ** config["t"])
    v_hat = config["v"] / (1 - beta2 ** config["t"])
    return w - config["learning_rate"] * m_hat / (np.sqrt(v_hat) + config["epsilon"]), config


RULES: dict[str, Callable] = {"sgd": sgd, "sgd_momentum": sgd_momentum, "rmsprop": rmsprop, "adam": adam}

# ---------------------------------------------------------------------------------------------------
# The training loop
# ---------------------------------------------------------------------------------------------------


class Solver:
    """Trains a model on batches drawn with replacement, and leaves it with the best parameters on validation."""

    def __init__(self, model: Any, data: dict[str, Array], **kwargs: Any) -> None:
        self.model = model
        self.X_train, self.y_train = data["X_train"], data["y_train"]
        self.X_val, self.y_val = data["X_val"], data["y_val"]
        self.optim_config: dict[str, Any] = kwargs.pop("optim_config", {})
        self.lr_decay: float = kwargs.pop("lr_decay", 1.0)
        self.batch_size: int = kwargs.pop("batch_size", 100)
        self.num_epochs: int = kwargs.pop("num_epochs", 10)
        self.num_train_samples: int | None = kwargs.pop("num_train_samples", 1000)
        self.num_val_samples: int | None = kwargs.pop("num_val_samples", None)
        self.checkpoint_name: str | None = kwargs.pop("checkpoint_name", None)
        self.print_every: int = kwargs.pop("print_every", 10)
        self.verbose: bool = kwargs.pop("verbose", True)
        rule = kwargs.pop("update_rule", "sgd")
        if kwargs:
            raise ValueError("Unrecognized arguments " + ", ".join(f'"{name}"' for name in kwargs))
        if rule not in RULES:
            raise ValueError(f'Invalid update_rule "{rule}"')
        self.update_rule = RULES[rule]
        self._reset()

    def _reset(self) -> None:
        self.epoch, self.best_val_acc, self.best_params = 0, 0.0, {}
        self.loss_history, self.train_acc_history, self.val_acc_history = [], [], []
        self.optim_configs = {name: dict(self.optim_config) for name in self.model.params}

    def _step(self) -> None:
        rows = np.random.choice(len(self.X_train), self.batch_size)
        loss, grads = self.model.loss(self.X_train[rows], self.y_train[rows])
        self.loss_history.append(loss)
        for name, w in self.model.params.items():
            self.model.params[name], _ = self.update_rule(w, grads[name], self.optim_configs[name])

    def _save_checkpoint(self) -> None:
        if self.checkpoint_name is None:
            return
        filename = f"{self.checkpoint_name}_epoch_{self.epoch}.pkl"
        if self.verbose:
            print(f'Saving checkpoint to "{filename}"')
        with open(filename, "wb") as file:
            pickle.dump({name: value for name, value in vars(self).items() if name[:2] not in ("X_", "y_")}, file)

    def check_accuracy(self, X: Array, y: Array, num_samples: int | None = None, batch_size: int = 100) -> float:
        """The share of rows, or of a sample of them, that are classified right."""
        if num_samples is not None and len(X) > num_samples:
            rows = np.random.choice(len(X), num_samples)
            X, y = X[rows], y[rows]
        batches = (X[start : start + batch_size] for start in range(0, len(X), batch_size))
        predictions = [np.argmax(self.model.loss(batch), axis=1) for batch in batches]
        return float(np.mean(np.concatenate(predictions) == y))

    def train(self) -> None:
        """Run the whole training."""
        per_epoch = max(len(self.X_train) // self.batch_size, 1)
        iterations = self.num_epochs * per_epoch
        for t in range(iterations):
            self._step()
            if self.verbose and t % self.print_every == 0:
                print(f"(Iteration {t + 1} / {iterations}) loss: {self.loss_history[-1]:f}")
            epoch_end = (t + 1) % per_epoch == 0
            if epoch_end:
                self.epoch += 1
                for config in self.optim_configs.values():
                    config["learning_rate"] *= self.lr_decay
            if t == 0 or t == iterations - 1 or epoch_end:
                self._evaluate()
        self.model.params = self.best_params

    def _evaluate(self) -> None:
        train_acc = self.check_accuracy(self.X_train, self.y_train, num_samples=self.num_train_samples)
        val_acc = self.check_accuracy(self.X_val, self.y_val, num_samples=self.num_val_samples)
        self.train_acc_history.append(train_acc)
        self.val_acc_history.append(val_acc)
        self._save_checkpoint()
        if self.verbose:
            print(f"(Epoch {self.epoch} / {self.num_epochs}) train acc: {train_acc:f}; val_acc: {val_acc:f}")
        if val_acc > self.best_val_acc:
            self.best_val_acc = val_acc
            self.best_params = {name: w.copy() for name, w in self.model.params.items()}
