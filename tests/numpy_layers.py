"""The layers in plain NumPy, for any float type: each returns its output and its VJP, written from the mathematics.

An oracle that no compiler has touched: it shares no code with jaxfc, and computes in float64.
"""

import numpy as np
from numpy_reference import (
    affine_backward,
    affine_forward,
    batchnorm_backward,
    batchnorm_forward,
    layernorm_backward,
    layernorm_forward,
)
from scipy import special


def affine(x, w, b):
    out, cache = affine_forward(x, w, b)
    return out, lambda dout: affine_backward(dout, cache)


# ---------------------------------------------------------------------------------------------------
# Embeddings of a table's numbers
# ---------------------------------------------------------------------------------------------------


def periodic(x, frequencies):
    angles = 2 * np.pi * frequencies * x[:, :, None]
    sines, cosines = np.sin(angles), np.cos(angles)

    def back(dout):
        of_sines, of_cosines = np.split(dout, 2, axis=2)
        of_angles = 2 * np.pi * (of_sines * cosines - of_cosines * sines)
        return (of_angles * frequencies).sum(axis=2), (of_angles * x[:, :, None]).sum(axis=0)

    return np.concatenate([sines, cosines], axis=2), back


def piecewise_linear(x, edges):
    """Of a single bin, which is open at both ends."""
    low, high = edges.T
    return ((x - low) / (high - low))[:, :, None], lambda dout: (dout[:, :, 0] / (high - low),)


def columnwise_affine(x, w, b):
    def back(dout):
        return np.einsum("nfo,fio->nfi", dout, w), np.einsum("nfi,nfo->fio", x, dout), dout.sum(axis=0)

    return np.einsum("nfi,fio->nfo", x, w) + b, back


# ---------------------------------------------------------------------------------------------------
# Activations
# ---------------------------------------------------------------------------------------------------


def _elementwise(out, slope):
    return out, lambda dout: (dout * slope,)


def relu(x):
    return _elementwise(np.maximum(x, 0), x > 0)


def leaky_relu(x):
    slope = np.where(x > 0, 1, 0.01)
    return _elementwise(slope * x, slope)


def tanh(x):
    return _elementwise(np.tanh(x), 1 / np.cosh(x) ** 2)


def sigmoid(x):
    p = special.expit(x)
    return _elementwise(p, p * special.expit(-x))


def silu(x):
    p = special.expit(x)
    return _elementwise(x * p, p + x * p * special.expit(-x))


def gelu(x):
    below = special.ndtr(x)
    return _elementwise(x * below, below + x * np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi))


ACTIVATIONS = {each.__name__: each for each in (relu, leaky_relu, tanh, sigmoid, silu, gelu)}

# ---------------------------------------------------------------------------------------------------
# Normalizations, and what drops at random
# ---------------------------------------------------------------------------------------------------


def batchnorm(x, gamma, beta, running_mean, running_var):
    param = {"mode": "train", "running_mean": running_mean, "running_var": running_var}
    out, cache = batchnorm_forward(x, gamma, beta, param)
    return (out, (param["running_mean"], param["running_var"])), lambda dout: batchnorm_backward(dout, cache)


def batchnorm_test(x, gamma, beta, running_mean, running_var):
    inv_std = 1 / np.sqrt(running_var + 1e-5)
    normalized = (x - running_mean) * inv_std
    return gamma * normalized + beta, lambda d: (d * gamma * inv_std, (d * normalized).sum(axis=0), d.sum(axis=0))


def layernorm(x, gamma, beta):
    out, cache = layernorm_forward(x, gamma, beta, {})
    return out, lambda dout: layernorm_backward(dout, cache)


def rmsnorm(x, gamma):
    root = np.sqrt((x**2).mean(axis=1, keepdims=True) + 1e-5)

    def vjp(dout):
        d = dout * gamma
        return d / root - x * (d * x).mean(axis=1, keepdims=True) / root**3, (dout * x / root).sum(axis=0)

    return gamma * x / root, vjp


def dropout(x, keep_ratio, mask):
    return _elementwise(np.where(mask, x / keep_ratio, 0), mask / keep_ratio)


def stochastic_depth(x, keep_ratio, mask):
    return dropout(x, keep_ratio, np.broadcast_to(mask[:, None], x.shape))


# ---------------------------------------------------------------------------------------------------
# Losses and penalties
# ---------------------------------------------------------------------------------------------------


def _mean_of_rows(losses, slopes, weights):
    """The weighted mean of each row's loss, from the losses of its entries, and their derivatives."""
    shares = np.full(len(losses), 1 / len(losses)) if weights is None else weights / weights.sum()
    return (shares * losses.sum(axis=1)).sum(), lambda dout: (dout * shares[:, None] * slopes,)


def softmax_loss(scores, y, weights=None, label_smoothing=0.0):
    classes = scores.shape[1]
    targets = (1 - label_smoothing) * (y if y.ndim == 2 else np.eye(classes)[y]) + label_smoothing / classes
    log_p = special.log_softmax(scores, axis=1)
    return _mean_of_rows(-targets * log_p, np.exp(log_p) * targets.sum(axis=1, keepdims=True) - targets, weights)


def svm_loss(scores, y, weights=None):
    right = np.eye(scores.shape[1], dtype=bool)[y]
    margins = np.where(right, 0, np.maximum(scores - scores[right][:, None] + 1, 0))
    violated = (margins > 0).astype(float)
    return _mean_of_rows(margins, violated - right * violated.sum(axis=1, keepdims=True), weights)


def _mean_of_entries(losses, slopes, weights):
    return _mean_of_rows(losses / losses.shape[1], slopes / losses.shape[1], weights)


def sigmoid_loss(scores, y, weights=None):
    losses = -(y * special.log_expit(scores) + (1 - y) * special.log_expit(-scores))
    return _mean_of_entries(losses, special.expit(scores) - y, weights)


def squared_loss(outputs, y, weights=None):
    return _mean_of_entries((outputs - y) ** 2, 2 * (outputs - y), weights)


def huber_loss(outputs, y, weights=None, delta=1.0):
    return _mean_of_entries(special.huber(delta, outputs - y), np.clip(outputs - y, -delta, delta), weights)


def quantile_loss(outputs, y, weights, quantiles):
    q = np.tile(quantiles, y.shape[1])
    residuals = np.repeat(y, len(quantiles), axis=1) - outputs
    slopes = np.where(residuals > 0, -q, 1 - q)
    return _mean_of_entries(-slopes * residuals, slopes, weights)


def l2_penalty(w, reg):
    return reg / 2 * (w**2).sum(), lambda dout: (dout * reg * w,)


# ---------------------------------------------------------------------------------------------------
# A network
# ---------------------------------------------------------------------------------------------------


def fcnet(params, x, *, normalization, activation, stats=()):
    """An `FCNet`'s outputs, with the running statistics `stats` in test mode, and the VJP by its parameters."""
    steps = []
    for i, layer in enumerate(params):
        x, back = affine(x, layer["w"], layer["b"])
        steps.append((i, ("w", "b"), back))
        if i == len(params) - 1:
            break
        if normalization:
            x, back = _normalize(x, layer, normalization, *stats[i : i + 1])
            steps.append((i, ("gamma", "beta"), back))
        x, back = ACTIVATIONS[activation](x)
        steps.append((i, (), back))

    def vjp(dout):
        grads = [{} for _ in params]
        for i, names, back in reversed(steps):
            dout, *more = back(dout)
            grads[i] |= dict(zip(names, more, strict=False))  # rmsnorm has no beta
        return grads

    return x, vjp


def _normalize(x, layer, normalization, running=None):
    vectors = [layer[name] for name in ("gamma", "beta") if name in layer]
    if normalization != "batchnorm":
        return {"layernorm": layernorm, "rmsnorm": rmsnorm}[normalization](x, *vectors)
    if running is not None:
        return batchnorm_test(x, *vectors, *running)
    (out, _), back = batchnorm(x, *vectors, np.zeros(x.shape[1]), np.ones(x.shape[1]))
    return out, back
