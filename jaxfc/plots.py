"""Pictures of a run: its curves, and where its model errs."""

import io
import itertools
import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int

from jaxfc.artifacts.files import write_atomically
from jaxfc.metrics import class_accuracies

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from jaxfc.training.result import Result

DRAWN_BY = "jaxfc"
BLUE, ORANGE, GREY = "#2166ac", "#d6604d", "#888888"


def curves(
    loss: Float[np.ndarray, " iterations"],
    train: Float[np.ndarray, " epochs_and_one"],
    val: Float[np.ndarray, " epochs_and_one"],
    *,
    score: str = "accuracy",
    best: int | None = None,
) -> "Figure":
    """Draw the loss of each iteration, and both scores of each epoch with the best marked.

    Args:
        loss: the loss of each iteration.
        train: the score on the training sample, from before the first epoch on.
        val: and on the validation rows.
        score: what the score is.
        best: the best epoch; by default that of the highest score.

    >>> figure = curves(np.array([2.3, 1.2]), np.array([0.1, 0.6]), np.array([0.1, 0.5]))
    >>> [axes.get_title() for axes in figure.axes]
    ['Training loss', 'Accuracy (best on validation: 0.5000, epoch 1)']
    """
    figure, (left, right) = new_figure(1, 2, size=(11, 4))
    _draw_loss(left, loss)
    epochs = np.arange(len(val))
    right.plot(epochs, train, color=ORANGE, marker=".", label="training sample")
    right.plot(epochs, val, color=BLUE, marker=".", label="validation")
    best = int(np.argmax(val)) if best is None else best
    right.plot(best, val[best], "o", color=BLUE, fillstyle="none", markersize=11)
    title = f"{score[:1].upper()}{score[1:]} (best on validation: {val[best]:.4f}, epoch {best})"
    right.set(xlabel="epoch", ylabel=score, title=title)
    known = np.concatenate([train, val])
    known = known[np.isfinite(known)]
    if len(known) and known.max() <= 1:
        # Of an R², the first values may be far below zero, and would flatten all others.
        right.set_ylim(max(min(0.0, known.min()), -1.0), 1.02)
    right.xaxis.get_major_locator().set_params(integer=True)
    right.legend(loc="best")
    return figure


def curves_of(result: "Result") -> "Figure":
    """`curves` of what `jaxfc.fit` returned.

    >>> from jaxfc import FCNet, fit, load
    >>> figure = curves_of(fit(FCNet(64, (8,), 10), "adam", load("digits"), epochs=1, verbose=False))
    >>> figure.axes[1].get_ylabel()
    'accuracy'
    """
    title = result.task.metrics[result.metric].title
    histories = result.loss_history, result.train_history, result.val_history
    return curves(*histories, score=title, best=result.best_epoch)


def _draw_loss(axes: "Axes", loss: Float[np.ndarray, " iterations"]) -> None:
    iterations = np.arange(1, len(loss) + 1)
    smooth = _running_mean(loss, max(1, len(loss) // 50))
    axes.plot(iterations, loss, color=GREY, linewidth=0.7, alpha=0.6, label="each iteration")
    axes.plot(iterations[len(loss) - len(smooth) :], smooth, color=BLUE, linewidth=1.6, label="running mean")
    axes.set(xlabel="iteration", ylabel="loss", title="Training loss")
    if len(loss) and loss.min() > 0 and loss.max() > 20 * loss.min():
        axes.set_yscale("log")
    axes.legend(loc="upper right")


def _running_mean(values: Float[np.ndarray, " n"], window: int) -> np.ndarray:
    if not len(values):
        return values
    return np.convolve(values, np.full(window, 1 / window), mode="valid")


def confusion(matrix: Int[np.ndarray, "classes classes"], classes: tuple[str, ...]) -> "Figure":
    """Draw a confusion matrix: each row a true class, shaded by the fraction predicted as each class.

    >>> figure = confusion(np.array([[1, 1], [0, 4]]), ("cat", "dog"))
    >>> figure.axes[0].get_title()
    'Confusion matrix (accuracy 0.8333)'
    """
    count = len(classes)
    size = min(max(4.5, 0.62 * count + 2), 24)
    figure, axes = new_figure(1, 1, size=(size, size))
    fractions = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    axes.imshow(fractions, cmap="Blues", vmin=0, vmax=1)
    accuracy = matrix.trace() / max(matrix.sum(), 1)
    axes.set(xlabel="predicted class", ylabel="true class", title=f"Confusion matrix (accuracy {accuracy:.4f})")
    labels = [f"{name} ({value:.0%})" for name, value in zip(classes, class_accuracies(matrix), strict=True)]
    long = max(map(len, classes)) > 3
    axes.set_xticks(
        range(count), classes, **({"rotation": 45, "ha": "right", "rotation_mode": "anchor"} if long else {})
    )
    axes.set_yticks(range(count), labels)
    axes.grid(False)
    if count <= 30:
        for i, j in np.argwhere(matrix):
            axes.text(
                j,
                i,
                matrix[i, j],
                ha="center",
                va="center",
                fontsize=8,
                color="white" if fractions[i, j] > 0.5 else "black",
            )
    return figure


def regression(
    y: Float[np.ndarray, "rows targets"], prediction: Float[np.ndarray, "rows targets"], names: tuple[str, ...] | None
) -> "Figure":
    """Draw what was predicted against what was measured, a panel for each target.

    >>> regression(np.eye(2), np.eye(2), ("height", "width")).axes[0].get_title()
    'height'
    """
    count = min(y.shape[1], 9)
    columns = min(count, 3)
    rows = -(-count // columns)
    figure, axes = new_figure(rows, columns, size=(4.5 * columns, 4.3 * rows))
    panels = list(np.atleast_1d(axes).flat)
    for i, panel in enumerate(panels[:count]):
        ends = [min(y[:, i].min(), prediction[:, i].min()), max(y[:, i].max(), prediction[:, i].max())]
        panel.plot(ends, ends, color=GREY, linewidth=1)
        panel.plot(y[:, i], prediction[:, i], ".", color=BLUE, markersize=5, alpha=min(1, 300 / len(y) + 0.15))
        panel.set(xlabel="measured", ylabel="predicted", title=names[i] if names else "")
    for panel in panels[count:]:
        panel.axis("off")
    return figure


def reliability(bins: Float[np.ndarray, "bins 3"]) -> "Figure":
    """Draw how often answers are right against how sure the model was of them; see `jaxfc.calibration.reliability`.

    Below the diagonal it is too sure of itself. The shades below say how many rows a bin holds.

    >>> from jaxfc.calibration import reliability as measured
    >>> figure = reliability(measured(np.array([0.55, 0.65, 0.95]), np.array([0, 1, 1])))
    >>> figure.axes[0].get_title()
    'Reliability (calibration error 0.3167)'
    """
    confidence, right, share = bins[bins[:, 2] > 0].T
    error = float((np.abs(confidence - right) * share).sum())
    figure, axes = new_figure(1, 1, size=(5, 5))
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=1)
    axes.bar((np.flatnonzero(bins[:, 2]) + 0.5) / len(bins), share, 1 / len(bins), color=BLUE, alpha=0.2)
    axes.plot(confidence, right, "o-", color=ORANGE, markersize=5)
    title = f"Reliability (calibration error {error:.4f})"
    axes.set(xlabel="probability", ylabel="share that is right", title=title, xlim=(0, 1), ylim=(0, 1.02))
    return figure


def weights(w: Float[np.ndarray, "pixels units"], image_shape: tuple[int, ...], *, most: int = 100) -> "Figure":
    """Draw each unit's incoming weights as an image, scaled to its own range; those with the largest norm first.

    Args:
        w: the first layer's weights.
        image_shape: `(height, width)`, or `(channels, height, width)` with 1 or 3 channels.
        most: how many units at most.

    >>> weights(np.eye(4), (2, 2)).get_suptitle()
    'Weights of the first layer (all 4 units)'
    """
    order = np.argsort(-np.linalg.norm(w, axis=0), kind="stable")[:most]
    images = w[:, order].T.reshape(-1, *image_shape)
    low, high = (f(images, axis=tuple(range(1, images.ndim)), keepdims=True) for f in (np.min, np.max))
    images = (images - low) / np.where(high > low, high - low, 1)
    if len(image_shape) == 3:
        images = images.transpose(0, 2, 3, 1)
    columns = int(np.ceil(np.sqrt(len(images))))
    rows = -(-len(images) // columns)
    figure, axes = new_figure(rows, columns, size=(0.75 * columns + 0.5, 0.75 * rows + 0.9))
    for each in np.atleast_1d(axes).flat:
        each.axis("off")
    for each, image in zip(np.atleast_1d(axes).flat, images, strict=False):
        each.imshow(image.squeeze(), cmap="RdBu_r" if image.ndim == 2 or image.shape[-1] == 1 else None)
    shown = "all" if len(images) == w.shape[1] else f"{len(images)} of"
    figure.suptitle(f"Weights of the first layer ({shown} {w.shape[1]} units)", fontsize=11)
    return figure


def save(figure: "Figure", path: str | Path) -> None:
    """Write a figure as PNG, atomically.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "confusion.png")
    ...     save(confusion(np.eye(2, dtype=int), ("cat", "dog")), path)
    ...     path.read_bytes()[1:4]
    b'PNG'
    """
    write_atomically(path, png(figure))


def save_beside(figure: "Figure", path: str | Path) -> Path:
    """Write a figure as PNG, atomically, and over none that is not this library's: then its name gets a number.

    Returns:
        The file written: `path`, or `NAME-2.png`, `NAME-3.png` … beside it.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "confusion.png")
    ...     _ = path.write_text("a user's own")
    ...     [save_beside(confusion(np.eye(2, dtype=int), ("cat", "dog")), path).name for _ in range(2)]
    ['confusion-2.png', 'confusion-2.png']
    """
    path = Path(path)
    numbered = (path.with_stem(f"{path.stem}-{number}") for number in itertools.count(2))
    free = next(each for each in itertools.chain([path], numbered) if not os.path.lexists(each) or _is_own(each))
    save(figure, free)
    return free


def _is_own(path: Path) -> bool:
    """Whether this library drew a picture."""
    from PIL import Image

    try:
        with Image.open(path) as picture:
            return picture.info.get("Source") == DRAWN_BY
    except (OSError, ValueError, SyntaxError):  # what Pillow raises for what is no picture, or a damaged one
        return False


def png(figure: "Figure") -> bytes:
    """A figure as PNG, which says that this library drew it.

    >>> png(weights(np.eye(4), (2, 2)))[1:4]
    b'PNG'
    """
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=120, metadata={"Source": DRAWN_BY})
    return picture.getvalue()


def get_ready() -> None:
    """Import what drawing needs, which takes a while: to be done while there is something to wait for.

    >>> get_ready()
    """
    import matplotlib.backends.backend_agg
    import matplotlib.figure  # noqa: F401


def new_figure(rows: int, columns: int, size: tuple[float, float]) -> tuple:
    """A figure and its axes, in this library's style.

    >>> figure, axes = new_figure(1, 2, size=(8, 3))
    >>> len(axes)
    2
    """
    # Not through pyplot: it keeps figures open, and looks for a display.
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(rows, columns)
    for each in np.atleast_1d(axes).flat:
        each.grid(True, linestyle="--", linewidth=0.5, alpha=0.6)
        each.spines[["top", "right"]].set_visible(False)
    return figure, axes
