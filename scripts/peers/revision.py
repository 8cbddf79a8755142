"""jaxfc as it was at another revision: its own peers, on its own library, under this checkout's protocol."""

from importlib import util
from pathlib import Path

import numpy as np

import jaxfc
from peers import Entry, Peer
from peers.work import Data


def peer_class(root: Path, entry: Entry) -> type[Peer]:
    """The class of a peer as it stands in the folder that holds the revision.

    Raises:
        ImportError: the jaxfc that is imported is another.
    """
    if not Path(jaxfc.__file__).resolve().is_relative_to(root.resolve()):
        raise ImportError(f"{jaxfc.__file__} is imported in place of the jaxfc in {root}")
    spec = util.spec_from_file_location(entry.module, root / "scripts" / "peers" / f"{entry.module}.py")
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return getattr(module, entry.cls)


def accuracy(peer: Peer, data: Data) -> float:
    """The validation accuracy of a peer from before peers had `accuracy`."""
    state = getattr(peer, "progress", peer).state
    x = (data.x_val - data.mean) * data.scale
    return float(np.mean(np.asarray(jaxfc.predict(peer.net, state.params, state.stats, x)) == data.y_val))
