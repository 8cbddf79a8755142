"""Networks: the contract they meet, and the kinds that come with the library.

A network is a description; its parameters live apart from it, as a pytree that goes in and comes out.
Whoever adds one writes one class (see `jaxfc.networks.contract`), here or in a file of their own.
"""

from jaxfc.networks.blocks import DTYPES, INITIALIZERS, NORMALIZATIONS, RunningStats
from jaxfc.networks.contract import Cost, Network, apply, check_network, cost, init, network, penalty, summary
from jaxfc.networks.fcnet import FCNet
from jaxfc.networks.residual import ResidualNet
from jaxfc.networks.tables import TableNet

NETWORKS = (FCNet, ResidualNet, TableNet)

__all__ = [
    "DTYPES",
    "INITIALIZERS",
    "NETWORKS",
    "NORMALIZATIONS",
    "Cost",
    "FCNet",
    "Network",
    "ResidualNet",
    "RunningStats",
    "TableNet",
    "apply",
    "check_network",
    "cost",
    "init",
    "network",
    "penalty",
    "summary",
]
