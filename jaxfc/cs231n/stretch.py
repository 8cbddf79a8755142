"""A stretch of the Solver's iterations as one compiled program.

What the assignment's loop does between two prints or two checks of accuracy depends on nothing but
arrays, and on draws from NumPy's global random stream. So the draws are made first, in the assignment's
order; then one program runs the whole stretch, or a part of it while the next part's masks are drawn.
Parameters stay on the device until someone may look at them.
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxfc.cs231n import optim
from jaxfc.cs231n.bridge import aligned, compiled
from jaxfc.cs231n.classifiers.fc_net import SMALL, FullyConnectedNet, Programs, flat
from jaxfc.cs231n.rows import Rows
from jaxfc.layers.common import wide_type

Array = np.ndarray
MASK_BYTES = 2**23  # of dropout masks drawn at a time: few, so that the first part of a stretch starts soon


def is_compiled(model: Any) -> bool:
    """Whether a model's loss is the core network's, and not a subclass's own or another library's."""
    return type(model).loss is FullyConnectedNet.loss  # and TwoLayerNet's: they inherit it


def longest_part(model: Any, batch_size: int) -> int:
    """How many iterations' masks are drawn at a time."""
    if not model.use_dropout:
        return 2**31
    units = sum(w.shape[1] for w in model.weights()[:-1])
    return max(MASK_BYTES // max(units * batch_size, 1), 1)


class Stretches:
    """Runs stretches of a training: draws, computes, and writes parameters and configurations back.

    Args:
        model: one of `fc_net`'s.
        rule: the name of an update rule.
        configs: its configuration for each parameter, changed in place.
        rows: the rows on the device, training rows first.
        y: the training rows' labels.
        batch_size: rows drawn for an iteration.
        longest: the most iterations of a stretch. Arrays of draws are padded to it, or to the longest part, so
            that one program serves stretches of all lengths.
    """

    def __init__(
        self, model: Any, rule: str, configs: dict[str, dict], rows: Rows, y: Array, batch_size: int, longest: int
    ) -> None:
        self.model, self.rule, self.adapter, self.configs = model, rule, optim.ADAPTERS[rule], configs
        self.rows, self.batch_size = rows, batch_size
        self.longest = min(longest, longest_part(model, batch_size))
        with jax.enable_x64(True):
            self.data = rows.x, jax.device_put(np.asarray(y))
        # One program serves all update rules where to compile costs more than to carry slots that a rule leaves unused.
        self.shared = sum(w.size for w in model.params.values()) <= SMALL
        self.state: list | None = None  # parameters, statistics and slots, where they are not the model's
        self.groups: tuple[tuple[str, ...], ...] = ()  # names of parameters that share all numbers
        self.done = 0  # iterations since the state was read

    def run(self, iterations: int) -> list[float]:
        """Run so many iterations, and return their losses."""
        self.model.enter("train")
        if self.state is None:
            self._read()
        parts: list[tuple[Any, int]] = []  # losses, and how many of them are
        while iterations > 0:
            part = min(iterations, self.longest)
            rows, masks = self._draw(part)
            parts.append((self._start(part, rows, masks), part))
            iterations -= part
            if len(parts) > 1:
                parts[-2][0].block_until_ready()  # two parts' masks are in memory, no more
        return [loss for losses, part in parts for loss in np.asarray(losses)[:part].tolist()]

    def _start(self, iterations: int, rows: Array, masks: list[Array] | None) -> Any:
        """Start the program on the rows and masks drawn, without waiting for it; return the losses to be."""
        program = _program(self.model.programs(), self.groups, None if self.shared else self.rule)
        *self.state, losses = program(
            self.state,
            np.int32(list(optim.ADAPTERS).index(self.rule)),
            np.int32(iterations),
            self.model.numbers(),
            [self._numbers(names) for names in self.groups],
            [np.int32(self._count(names) + self.done) for names in self.groups],
            self.data,
            rows,
            masks,
        )
        self.done += iterations
        return losses

    def classes(self, X: Array, rows: Array) -> Array:
        """The class that the model as it is gives each of some rows of `X`, in test mode."""
        self.model.enter("test")
        if self.state is None:
            self._read()
        layers, stats, _ = self.state
        return self.rows.classes(X, rows, layers, stats)

    def params(self) -> dict[str, Array]:
        """A copy of the parameters as they are."""
        if self.state is None:
            self._read()
        trained = flat(self.state[0])
        return {name: np.array(trained.get(name, w)) for name, w in self.model.params.items()}

    def _read(self) -> None:
        """Take the state of the training from the model and the configurations."""
        for name, config in self.configs.items():
            self.adapter.fill(self.model.params[name], config)
        self.groups, self.done = self._group(), 0
        slots = [self._slots(names) for names in self.groups]
        with jax.enable_x64(True):  # copies, for the program takes their memory for its results
            self.state = jax.tree.map(jnp.array, [self.model.layers(), self.model.running(self.model.dtype), slots])

    def write_back(self) -> None:
        """Bring the model and the configurations up to date; the next run reads them again."""
        if self.state is None:
            return
        self.model.params.update(self.params())
        _, stats, slots = self.state
        self.model.keep(stats)
        for names, arrays in zip(self.groups, slots, strict=True):
            self._write_configs(names, arrays)
        self.state = None

    def _draw(self, iterations: int) -> tuple[Array, list[Array] | None]:
        """Draw batches and dropout masks, iteration by iteration."""
        num_rows = len(self.data[1])
        rows = np.zeros((self.longest, self.batch_size), np.int32)
        masks: list[Array] | None = None
        for i in range(iterations):
            rows[i] = np.random.choice(num_rows, self.batch_size)
            drawn = self.model.draw_masks(self.batch_size)
            if drawn is None:
                continue
            masks = masks or [aligned((self.longest, *mask.shape), bool) for mask in drawn]
            for ahead, mask in zip(masks, drawn, strict=True):
                ahead[i] = mask
        return rows, masks

    def _group(self) -> tuple[tuple[str, ...], ...]:
        """The names of the parameters that share all numbers of their configuration."""
        groups: dict[tuple, tuple[str, ...]] = {}
        for name in self.configs:
            key = (*self._numbers([name]), self._count([name]))
            groups[key] = (*groups.get(key, ()), name)
        return tuple(groups.values())

    def _numbers(self, names: Sequence[str]) -> Array:
        """A group's numbers as an array of four, as many as any rule has."""
        numbers = [float(self.configs[names[0]][number]) for number, _ in self.adapter.numbers]
        return np.array([*numbers, *[0.0] * (4 - len(numbers))])

    def _count(self, names: Sequence[str]) -> int:
        """How many steps a group's configuration has counted, up to when it was read."""
        return int(self.configs[names[0]].get(self.adapter.counter, 0))

    def _slots(self, names: tuple[str, ...]) -> tuple[dict[str, Array], ...]:
        """A group's slots, a tree for each; in a shared program two, as many as any rule has."""
        slots = [{name: np.asarray(self.configs[name][slot]) for name in names} for slot in self.adapter.slots]
        while self.shared and len(slots) < 2:
            slots.append({name: np.zeros_like(self.model.params[name]) for name in names})
        return tuple(slots)

    def _write_configs(self, names: tuple[str, ...], slots: tuple[dict[str, Any], ...]) -> None:
        for name in names:
            config = self.configs[name]
            for slot, tree in zip(self.adapter.slots, slots, strict=False):
                config[slot] = np.array(tree[name])
            if self.adapter.counter:
                config[self.adapter.counter] += self.done


@cache
def _program(programs: Programs, groups: tuple[tuple[str, ...], ...], rule: str | None) -> Callable:
    """The program that runs a stretch; with `rule` None, one for all rules, chosen by their index."""

    def update(index: Any, *args: Any) -> tuple:
        if rule is not None:
            return optim.ADAPTERS[rule].update(*args)
        # All of them, entry by entry in one loop: a conditional would copy parameters and slots.
        results = [adapter.update(*args) for adapter in optim.ADAPTERS.values()]
        return jax.tree.map(lambda *arrays: lax.select_n(index, *arrays), *results)

    def stretch(
        start: list,
        index: Any,
        iterations: Any,
        net: Any,
        numbers: Any,
        counts: Any,
        data: tuple,
        rows: Any,
        masks: Any,
    ) -> tuple:
        x, y = data

        def iteration(i: Any, carry: tuple) -> tuple:
            layers, stats, slots, losses = carry
            now = None if masks is None else [mask[i] for mask in masks]
            loss, grads, stats = programs.value_and_grad(net, layers, stats, x[rows[i]], y[rows[i]], now)
            params, grads, new_slots = flat(layers), flat(grads), []
            for names, group_numbers, group_slots, count in zip(groups, numbers, slots, counts, strict=True):
                mine, theirs = ({name: tree[name] for name in names} for tree in (params, grads))
                mine, arrays = update(index, mine, theirs, group_numbers, group_slots, count + i)
                params |= mine
                new_slots.append(arrays)
            return _like(layers, params), stats, new_slots, losses.at[i].set(loss.astype(losses.dtype))

        losses = jnp.zeros(len(rows), wide_type(x))
        return lax.fori_loop(0, iterations, iteration, (*start, losses))

    return compiled(stretch, donate=(0,))


def _like(layers: list[dict[str, Any]], params: dict[str, Any]) -> list[dict[str, Any]]:
    """Parameters by the assignment's names, arranged as the core network has them."""
    names = iter(flat(layers))
    return [{key: params[next(names)] for key in layer} for layer in layers]
