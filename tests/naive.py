"""Twins of the layers, written as directly as possible, for JAX to differentiate."""

import jax
import jax.numpy as jnp
import numpy as np


def affine(x, w, b):
    return jnp.einsum("ni,io->no", x, w) + b[None, :]


def columnwise_affine(x, w, b):
    return jnp.stack([x[:, f] @ w[f] + b[f][None, :] for f in range(len(w))], axis=1)


def periodic(x, frequencies):
    angles = [2 * np.pi * x[:, f : f + 1] * frequencies[f][None, :] for f in range(len(frequencies))]
    return jnp.stack([jnp.concatenate([jnp.sin(a), jnp.cos(a)], axis=1) for a in angles], axis=1)


def piecewise_linear(x, edges):
    """Bin by bin, as the paper's equation says."""
    columns, last = [], edges.shape[1] - 2
    for f in range(x.shape[1]):
        entries = []
        for t, (low, high) in enumerate(zip(edges[f, :-1], edges[f, 1:], strict=True)):
            before, after = (x[:, f] < low) & (t > 0), (x[:, f] >= high) & (t < last)
            through = (x[:, f] - low) / (high - low) if high > low else 0 * x[:, f]
            entries.append(jnp.where(before, 0.0, jnp.where(after, float(high > low), through)))
        columns.append(jnp.stack(entries, axis=1))
    return jnp.stack(columns, axis=1)


def relu(x):
    return jnp.where(x > 0, x, 0.0)


def leaky_relu(x, slope=0.01):
    return jnp.where(x > 0, x, slope * x)


def tanh(x):
    return (jnp.exp(x) - jnp.exp(-x)) / (jnp.exp(x) + jnp.exp(-x))


def sigmoid(x):
    return 1 / (1 + jnp.exp(-x))


def silu(x):
    return x / (1 + jnp.exp(-x))


def gelu(x):
    return x * 0.5 * (1 + jax.scipy.special.erf(x / jnp.sqrt(2.0)))


def batchnorm(x, gamma, beta, eps=1e-5):
    mean = x.sum(axis=0) / len(x)
    var = ((x - mean[None, :]) ** 2).sum(axis=0) / len(x)
    return batchnorm_test(x, gamma, beta, mean, var, eps)


def batchnorm_test(x, gamma, beta, mean, var, eps=1e-5):
    gamma, beta, mean, var = (each[None, :] for each in (gamma, beta, mean, var))
    return gamma * (x - mean) / jnp.sqrt(var + eps) + beta


def layernorm(x, gamma, beta, eps=1e-5, counted=None):
    if counted is not None:
        return among(layernorm(x[:, counted], gamma[counted], beta[counted], eps), counted)
    ones, zeros = jnp.ones(len(x), x.dtype), jnp.zeros(len(x), x.dtype)
    return gamma[None, :] * batchnorm(x.T, ones, zeros, eps).T + beta[None, :]


def rmsnorm(x, gamma, eps=1e-5, counted=None):
    if counted is not None:
        return among(rmsnorm(x[:, counted], gamma[counted], eps), counted)
    return gamma[None, :] * x / jnp.sqrt((x**2).sum(axis=1, keepdims=True) / x.shape[1] + eps)


def among(x, counted):
    """The columns of `x` where features count, and zeros elsewhere."""
    return jnp.zeros((len(x), len(counted)), x.dtype).at[:, counted].set(x)


def softmax_loss(scores, y, weights=None, label_smoothing=0.0):
    p = jnp.exp(scores) / jnp.exp(scores).sum(axis=1, keepdims=True)
    weights = jnp.ones(len(y), scores.dtype) if weights is None else weights
    hot = y if y.ndim == 2 else jnp.eye(scores.shape[1], dtype=scores.dtype)[y]
    targets = (1 - label_smoothing) * hot + label_smoothing / scores.shape[1]
    return (weights * -(targets * jnp.log(p)).sum(axis=1)).sum() / weights.sum()


def svm_loss(scores, y, weights=None):
    y = np.asarray(y)
    weights = jnp.ones(len(y)) if weights is None else weights
    total = 0.0
    for i in range(len(y)):
        for c in range(scores.shape[1]):
            if c != y[i]:
                total += weights[i] * jnp.maximum(0.0, scores[i, c] - scores[i, y[i]] + 1)
    return total / weights.sum()


def sigmoid_loss(scores, y, weights=None):
    p, y = 1 / (1 + jnp.exp(-scores)), jnp.asarray(y, scores.dtype)
    return _mean_of_rows(-(y * jnp.log(p) + (1 - y) * jnp.log(1 - p)), weights)


def squared_loss(outputs, y, weights=None):
    return _mean_of_rows((outputs - y) ** 2, weights)


def huber_loss(outputs, y, weights=None, delta=1.0):
    r = abs(outputs - y)
    return _mean_of_rows(jnp.where(r <= delta, 0.5 * r**2, delta * (r - 0.5 * delta)), weights)


def quantile_loss(outputs, y, weights=None, quantiles=(0.5,)):
    columns = []
    for k in range(y.shape[1]):
        for i, q in enumerate(quantiles):
            r = y[:, k] - outputs[:, k * len(quantiles) + i]
            columns.append(jnp.where(r > 0, q * r, (1 - q) * -r))
    return _mean_of_rows(jnp.stack(columns, axis=1), weights)


def _mean_of_rows(losses, weights):
    rows = losses.sum(axis=1) / losses.shape[1]
    return rows.sum() / len(rows) if weights is None else (weights * rows).sum() / weights.sum()


def l2_penalty(w, reg):
    return reg / 2 * (w**2).sum()


ACTIVATIONS = {"relu": relu, "leaky_relu": leaky_relu, "tanh": tanh, "sigmoid": sigmoid, "silu": silu, "gelu": gelu}


def normalize(x, layer, normalization):
    if normalization is None:
        return x
    if normalization == "rmsnorm":
        return rmsnorm(x, layer["gamma"])
    return {"batchnorm": batchnorm, "layernorm": layernorm}[normalization](x, layer["gamma"], layer["beta"])


def fcnet(params, x, *, normalization, activation):
    """The outputs of an `FCNet` without dropout, in training mode."""
    for layer in params[:-1]:
        x = ACTIVATIONS.get(activation, activation)(normalize(affine(x, layer["w"], layer["b"]), layer, normalization))
    return affine(x, params[-1]["w"], params[-1]["b"])


def residual_branch(block, x, *, normalization, activation):
    """What a block of a `ResidualNet` adds to the stream."""
    inner = affine(normalize(x, block, normalization), block["w1"], block["b1"])
    return affine(ACTIVATIONS.get(activation, activation)(inner), block["w2"], block["b2"])


def residual_net(params, x, *, normalization, activation):
    """The outputs of a `ResidualNet` that drops nothing, in training mode."""
    x = affine(x, params["stem"]["w"], params["stem"]["b"])
    for block in params["blocks"]:
        x = x + residual_branch(block, x, normalization=normalization, activation=activation)
    return affine(x, params["head"]["w"], params["head"]["b"])


def network_loss(outputs, params, y, reg):
    """The training loss: cross-entropy, and L2 over every matrix."""
    return softmax_loss(outputs, y) + sum(l2_penalty(w, reg) for w in jax.tree.leaves(params) if w.ndim == 2)
