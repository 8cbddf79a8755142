"""Search: hundreds of networks trained at once.

`sample` or `grid` makes settings from spaces, `run` trains a network for each and ranks them: all to the
end (`Random`), or most of them only for a while (`Halving`, `Hyperband`). Candidates that differ in
numbers only, or in the widths and depth of a plain network, are one compiled program.
"""

from jaxfc.search.ledger import Sharing
from jaxfc.search.loop import run
from jaxfc.search.methods import Halving, Hyperband, Random
from jaxfc.search.shared import run_shared
from jaxfc.search.spaces import choice, grid, integers, linspace, logspace, loguniform, sample, seeds, uniform
from jaxfc.search.trials import SearchResult, Trial, ranked

__all__ = [
    "Halving",
    "Hyperband",
    "Random",
    "SearchResult",
    "Sharing",
    "Trial",
    "choice",
    "grid",
    "integers",
    "linspace",
    "logspace",
    "loguniform",
    "ranked",
    "run",
    "run_shared",
    "sample",
    "seeds",
    "uniform",
]
