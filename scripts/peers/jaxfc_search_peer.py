"""jaxfc: all candidates of a search at once, by `jaxfc.search.run`."""

import numpy as np

import jaxfc
from peers import Outcome
from peers.work import Data, Work


class JaxfcSearch:
    """A random search over learning rates, in float32 or (variant `"bfloat16"`) in bfloat16."""

    def __init__(self, work: Work, data: Data, variant: str) -> None:
        self.work, self.runs = work, work.candidates
        names = tuple(map(str, range(data.dims[1])))
        normalizer = jaxfc.Normalizer(data.mean, data.scale)
        self.data = jaxfc.Dataset(work.dataset, data.x, data.y, data.x_val, data.y_val, None, None, names, normalizer)
        self.config = jaxfc.TrainConfig(
            hidden=work.hidden_dims,
            update_rule=work.rule,
            batch_size=work.batch_size,
            epochs=work.epochs,
            compute_dtype="bfloat16" if variant == "bfloat16" else None,
        )

    def start(self) -> None:
        """Draw new settings."""
        rate = self.work.learning_rate
        spaces = {"learning_rate": jaxfc.search.loguniform(rate / 3, rate * 3)}
        self.settings = jaxfc.search.sample(spaces, self.work.candidates)

    def train(self, plans: np.ndarray) -> Outcome:
        """Train all candidates; the rows of each epoch are the search's own."""
        found = jaxfc.search.run(self.data, self.config, self.settings, progress=False)
        return Outcome(found.best.loss[0], found.best.score)
