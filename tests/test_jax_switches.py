"""JAX's own switches: under any of them the library works, and where numbers should be the same they are.

That nothing is promoted by accident, all tests check; see `conftest.py`. A switch that is set before JAX starts needs a
process of its own: there are two, with several switches each.
"""

import json
import os
import subprocess
import sys

import numpy as np
from under_switches import __file__ as PROGRAM
from under_switches import everything


def under(folder, *words, **switches):
    """The numbers that come of it in another process."""
    folder.mkdir()
    out = subprocess.run(
        [sys.executable, PROGRAM, folder, "quick", *words],
        env={**os.environ, **switches},
        capture_output=True,
        text=True,
    )
    assert out.returncode == 0, out.stderr[-3000:]
    return json.loads(out.stdout)


def test_nan_debugging_and_several_devices_change_no_number(tmp_path):
    strict = {"JAX_NUMPY_RANK_PROMOTION": "raise", "JAX_NUMPY_DTYPE_PROMOTION": "strict"}
    found = under(tmp_path / "run", JAX_DEBUG_NANS="1", JAX_NUM_CPU_DEVICES="2", **strict)
    assert found == everything(tmp_path, quick=True)


def test_without_compilation_and_with_64_bit_mode_turned_on_halfway_and_the_older_random_bits(tmp_path):
    found = under(tmp_path / "run", "halfway", JAX_DISABLE_JIT="1", JAX_THREEFRY_PARTITIONABLE="0")
    assert all(np.isfinite(numbers).all() for numbers in found.values())
