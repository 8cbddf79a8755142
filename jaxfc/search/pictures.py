"""Pictures of a search: settings against the score, and the learning curves of all candidates."""

from typing import TYPE_CHECKING, Any

import numpy as np

from jaxfc.plots import GREY, ORANGE, new_figure
from jaxfc.search.spaces import spell_value
from jaxfc.search.trials import Trial, ranked

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LOG_RATIO = 20  # of the largest to the smallest value, from which an axis is logarithmic
COLOURS = "viridis"


def names_of(trials: list[Trial]) -> list[str]:
    """The names of the settings that set trials apart.

    >>> import numpy as np
    >>> curve = np.array([[0.5, 0.9]])
    >>> trials = [Trial(0, {"reg": 1e-3}, None, 0, (2,), curve, curve, curve)]
    >>> names_of(trials)
    ['reg']
    """
    return list(dict.fromkeys(name for trial in trials for name in trial.settings))


def parallel_coordinates(trials: list[Trial], score: str = "accuracy") -> "Figure":
    """Draw each candidate as a line through its settings to its score; the brighter the better.

    >>> import numpy as np
    >>> curves = np.array([[[0.5, 0.9]], [[0.4, 0.7]]])
    >>> trials = [Trial(i, {"reg": 0.1**i}, None, 0, (2,), c, c, c) for i, c in enumerate(curves)]
    >>> parallel_coordinates(trials).axes[0].get_title()
    '2 candidates, the best in orange'
    """
    names = names_of(trials)
    order = ranked(trials)
    figure, axes = new_figure(1, 1, size=(max(6.0, 1.9 * (len(names) + 1) + 1.5), 5))
    scales = [_Scale([t.settings[name] for t in trials]) for name in names]
    scores = _Scale([t.score for t in order] or [0.0], linear=True)
    failed = [t for t in trials if t.status == "failed"]
    for trial in failed:
        axes.plot([s(trial.settings[n]) for s, n in zip(scales, names, strict=True)], color=GREY, lw=0.8, ls=":")
    colour = _colours(order)
    for trial in reversed(order):
        heights = [s(trial.settings[n]) for s, n in zip(scales, names, strict=True)] + [scores(trial.score)]
        best = trial is order[0]
        axes.plot(heights, color=ORANGE if best else colour(trial), lw=2.6 if best else 0.9, alpha=1 if best else 0.75)
    for i, scale in enumerate([*scales, scores]):
        axes.axvline(i, color="black", lw=0.8)
        for value, text in scale.ticks():
            axes.annotate(text, (i, value), xytext=(4, 0), textcoords="offset points", fontsize=8, va="center",
                          bbox={"boxstyle": "round,pad=0.1", "fc": "white", "ec": "none", "alpha": 0.7})  # fmt: skip
    axes.set_xticks(range(len(names) + 1), [*names, f"validation\n{score}"])
    axes.set(yticks=[], xlim=(-0.15, len(names) + 0.45), ylim=(-0.05, 1.05))
    axes.spines[:].set_visible(False)
    axes.grid(False)
    note = f"; dotted: {len(failed)} that failed" if failed else ""
    axes.set_title(f"{len(trials)} candidates, the best in orange{note}", fontsize=11)
    return figure


def scatter(trials: list[Trial], score: str = "accuracy") -> "Figure":
    """Draw the score of every candidate against each of its settings.

    >>> import numpy as np
    >>> curves = np.array([[[0.5, 0.9]], [[0.4, 0.7]]])
    >>> trials = [Trial(i, {"reg": 0.1**i}, None, 0, (2,), c, c, c) for i, c in enumerate(curves)]
    >>> scatter(trials).axes[0].get_xlabel()
    'reg'
    """
    names = names_of(trials)
    order = ranked(trials)
    columns = 2 if len(names) == 4 else max(min(len(names), 3), 1)
    rows = max(-(-len(names) // columns), 1)
    figure, axes = new_figure(rows, columns, size=(4.2 * columns, 3.3 * rows))
    flat = list(np.atleast_1d(axes).flat)
    colour = _colours(order)
    for each, name in zip(flat, names, strict=False):
        scale = _Scale([t.settings[name] for t in trials])
        numeric = scale.numeric
        for trial in reversed(order):
            x = trial.settings[name] if numeric else scale.place(trial.settings[name])
            best = trial is order[0]
            each.plot(x, trial.score, "o", color=ORANGE if best else colour(trial), ms=9 if best else 5,
                      mec="white", mew=0.5, zorder=3 if best else 2)  # fmt: skip
        if scale.log:
            each.set_xscale("log")
        elif numeric:
            each.locator_params(axis="x", nbins=4)
        if not numeric:
            each.set_xticks(range(len(scale.options)), [spell_value(option) for option in scale.options])
            each.margins(x=0.2)
        each.set(xlabel=name, ylabel=f"validation {score}")
    for each in flat[len(names) :]:
        each.axis("off")
    return figure


def learning_curves(trials: list[Trial], score: str = "accuracy") -> "Figure":
    """Draw the validation score of all candidates over the epochs, with the best marked.

    >>> import numpy as np
    >>> curves = np.array([[[0.5, 0.9]], [[0.4, 0.7]]])
    >>> trials = [Trial(i, {"seed": i}, None, 0, (2,), c, c, c) for i, c in enumerate(curves)]
    >>> learning_curves(trials).axes[0].get_title()
    'Learning curves of all candidates'
    """
    order = ranked(trials)
    figure, axes = new_figure(1, 1, size=(8, 4.5))
    colour = _colours(order)
    for trial in reversed(order):
        epochs = np.arange(1, trial.epochs + 1)
        best = trial is order[0]
        style = {"color": ORANGE, "lw": 2.4, "zorder": 3} if best else {"color": colour(trial), "lw": 0.9, "alpha": 0.7}
        axes.plot(epochs, trial.curve, **style, marker="." if trial.epochs < 30 else None)
    if order:
        top = order[0]
        axes.plot(top.best_epoch, top.score, "o", color=ORANGE, fillstyle="none", ms=11, zorder=4)
        label = f"trial {top.number}: {top.score:.4f}"
        axes.annotate(
            label, (top.best_epoch, top.score), xytext=(0, 9), textcoords="offset points", color=ORANGE, ha="center"
        )
        _focus(axes, order)
    axes.set(xlabel="epoch", ylabel=f"validation {score}", title="Learning curves of all candidates")
    axes.xaxis.get_major_locator().set_params(integer=True)
    return figure


def _focus(axes: Any, order: list[Trial]) -> None:
    """Limit an axis to what can be told apart: a candidate that went astray would flatten all others."""
    ends = np.array([t.score for t in order])
    best, rest = ends[0], np.concatenate([t.curve for t in order])
    worst = rest.min() if order[0].higher else rest.max()
    if order[0].higher and worst < 0:  # an R² has no least value
        worst = max(worst, min(0.0, float(np.median(ends))) - 1)
    elif not order[0].higher:
        worst = min(worst, 10 * float(np.median(ends)))
    margin = 0.08 * (best - worst) + (0.01 if order[0].higher else -0.01 * abs(best))
    top, bottom = best + margin, worst - 0.05 * (best - worst)
    axes.set_ylim(min(top, bottom), max(top, bottom))


def _colours(order: list[Trial]) -> Any:
    """A colour for each ranked trial, by its place."""
    import matplotlib

    places = {t.number: 1 - i / max(len(order) - 1, 1) for i, t in enumerate(order)}
    shades = matplotlib.colormaps[COLOURS]
    return lambda trial: shades(0.92 * places[trial.number])


def _size(value: Any) -> tuple:
    """A key by which widths are sorted as numbers, and names as text, with none first."""
    return (value is not None, value if isinstance(value, tuple) else (), str(value))


class _Scale:
    """The map from a setting's values to heights in [0, 1]: linear or logarithmic, or a place for each name."""

    def __init__(self, values: list[Any], *, linear: bool = False) -> None:
        self.numeric = all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
        self.options = [] if self.numeric else sorted(dict.fromkeys(values), key=_size)
        if self.numeric:
            self.low, self.high = min(values), max(values)
        self.log = not linear and self.numeric and self.low > 0 and self.high / self.low > LOG_RATIO

    def place(self, value: Any) -> int:
        """The place of a name."""
        return self.options.index(value)

    def __call__(self, value: Any) -> float:
        if not self.numeric:
            return self.place(value) / max(len(self.options) - 1, 1)
        if self.high == self.low:
            return 0.5
        if self.log:
            return float(np.log(value / self.low) / np.log(self.high / self.low))
        return (value - self.low) / (self.high - self.low)

    def ticks(self) -> list[tuple[float, str]]:
        """Heights and what to write at them."""
        if not self.numeric:
            return [(self(option), spell_value(option)) for option in self.options]
        between = np.linspace(0, 1, 5) if self.high > self.low else [0.5]
        if self.log:
            return [(t, f"{self.low * (self.high / self.low) ** t:.2g}") for t in between]
        return [(t, f"{self.low + t * (self.high - self.low):.3g}") for t in between]
