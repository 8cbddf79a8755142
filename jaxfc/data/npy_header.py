"""What a `.npy` file, or a member of a `.npz` file, says of its array before the numbers begin."""

import math
from typing import Any, NamedTuple

import numpy as np

from jaxfc.errors import shortened
from jaxfc.memory import in_units


class Header(NamedTuple):
    """A shape, whether columns lie in a row (Fortran's order), and a type.

    >>> Header((2, 3), False, np.dtype("f4")).nbytes
    24
    """

    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype

    @property
    def nbytes(self) -> int:
        """The bytes of the numbers."""
        return math.prod(self.shape) * self.dtype.itemsize


def read_header(file: Any, size: int) -> Header:
    """Read a header, and compare what it promises with the size of the file.

    Raises:
        ValueError: no header, one of Python objects, or one that promises more than there is.

    >>> import io
    >>> file = io.BytesIO()
    >>> np.save(file, np.eye(2))
    >>> size = file.tell()
    >>> _ = file.seek(0)
    >>> read_header(file, size).shape
    (2, 2)
    """
    version = np.lib.format.read_magic(file)
    read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in read:
        raise ValueError(f"version {version[0]}.{version[1]} is unknown")
    header = Header(*read[version](file))
    if header.dtype.hasobject:
        raise ValueError("Object arrays may run code, and its elements are Python objects: save numbers or text")
    if any(not 0 <= length < 2**63 for length in header.shape):
        raise ValueError(f"its header says shape {shortened(str(header.shape))}")
    there = size - file.tell()
    if header.nbytes > there:
        raise ValueError(f"its header promises {in_units(header.nbytes)}, and {in_units(there)} follow")
    return header
