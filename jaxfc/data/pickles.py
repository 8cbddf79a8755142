"""Reading the pickles of CIFAR-10, whoever wrote them, without trusting them.

A pickle is a program. Here it can build dictionaries, lists, text, numbers and arrays of bytes, and nothing else, be it
written by Python 2 or, packed again, by Python 3. Nothing in it is run, and nothing in it can take more memory or time
than its own length warrants.
"""

import io
import pickle
from typing import Any, ClassVar

import numpy as np

from jaxfc.data.opening import damaged
from jaxfc.errors import FormatError, shortened


def unpickled(raw: bytes, where: str) -> Any:
    """What a pickle holds; arrays as objects with an attribute `array`.

    Args:
        raw: the pickle.
        where: where it is from, for messages.

    Raises:
        FormatError: it is corrupted or truncated, or builds anything else.

    >>> unpickled(pickle.dumps({b"data": np.uint8([[3]])}, protocol=2), "data_batch_1")[b"data"].array
    array([[3]], dtype=uint8)
    >>> unpickled(pickle.dumps(print), "data_batch_1")
    Traceback (most recent call last):
    jaxfc.errors.FormatError: data_batch_1 tries to load builtins.print: not a CIFAR-10 file, and nothing of it was run
    """
    with damaged(f"{where} is corrupted or truncated"):
        return _Unpickler(raw, where).load()


class _Array:
    """Stands in for numpy's array, and for the function that makes an empty one, while a batch is unpickled.

    With stand-ins a pickle calls nothing but what is here, and not even numpy, whose own unpickling trusts the
    file not to lie about the memory it describes.
    """

    def __init__(self, *_: object) -> None:
        self.array: np.ndarray | None = None

    def __setstate__(self, state: tuple) -> None:
        _version, shape, dtype, is_fortran, raw = state
        self.array = _as_array(raw, dtype, shape, "F" if is_fortran else "C")


def _from_buffer(raw: Any, dtype: Any, shape: Any, order: Any) -> _Array:
    """Stands in for what numpy's arrays are made by from protocol 5 on."""
    made = _Array()
    made.array = _as_array(raw, dtype, shape, order)
    return made


def _as_array(raw: Any, dtype: Any, shape: Any, order: Any) -> np.ndarray:
    if not isinstance(dtype, _Dtype) or dtype.name not in ("u1", b"u1"):
        raise ValueError("an array that is not of bytes")
    return np.frombuffer(raw, np.uint8).reshape(shape, order=order)


class _Dtype:
    """Stands in for numpy's dtype."""

    def __init__(self, name: object, *_: object) -> None:
        self.name = name

    def __setstate__(self, state: tuple) -> None:
        """Ignore byte order and the like, which say nothing about bytes."""


def _encoded(text: Any = None, encoding: Any = None) -> bytes:
    """Stands in for `codecs.encode`, by which Python 3 writes bytes for Python 2: as text, in Latin-1."""
    if not isinstance(text, str) or encoding not in ("latin1", b"latin1"):
        raise ValueError("bytes that are not encoded as Python 3 does it for Python 2")
    return text.encode("latin1")


def _no_bytes(*args: Any) -> bytes:
    """Stands in for `bytes`, by which Python 3 writes empty ones for Python 2."""
    if args:
        raise ValueError("bytes that are not encoded as Python 3 does it for Python 2")
    return b""


_STAND_INS = {
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy._core.multiarray", "_reconstruct"): _Array,
    ("numpy.core.numeric", "_frombuffer"): _from_buffer,
    ("numpy._core.numeric", "_frombuffer"): _from_buffer,
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
    ("_codecs", "encode"): _encoded,
    ("__builtin__", "bytes"): _no_bytes,
}

# Sets are not among them, and keys are text: to hash a tuple that holds itself many times over would never end.
_INSTRUCTIONS = """
    PROTO FRAME STOP MARK POP_MARK NONE NEWTRUE NEWFALSE INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT
    STRING BINSTRING SHORT_BINSTRING UNICODE BINUNICODE SHORT_BINUNICODE BINUNICODE8 BINBYTES SHORT_BINBYTES
    BINBYTES8 BYTEARRAY8 EMPTY_LIST LIST APPEND APPENDS EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 EMPTY_DICT DICT
    SETITEM SETITEMS GET BINGET LONG_BINGET PUT BINPUT LONG_BINPUT MEMOIZE GLOBAL STACK_GLOBAL REDUCE BUILD
""".split()  # noqa: SIM905 (a column of names would hide what is there)


class _Unpickler(pickle._Unpickler):  # the one in Python: the one in C makes room for whatever place a pickle names
    """Unpickles dictionaries, lists, text, numbers and arrays of bytes, and refuses everything else."""

    dispatch: ClassVar = {
        code: pickle._Unpickler.dispatch[code] for code in (getattr(pickle, name)[0] for name in _INSTRUCTIONS)
    }

    def __init__(self, raw: bytes, where: str) -> None:
        super().__init__(io.BytesIO(raw), encoding="bytes")
        self.where = where

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _STAND_INS:
            raise FormatError(
                f"{self.where} tries to load {shortened(f'{module}.{name}')}: not a CIFAR-10 file, and nothing of it "
                "was run"
            )
        return _STAND_INS[module, name]

    def load_dict(self) -> None:
        _check_keys(self.stack[::2])
        super().load_dict()

    def load_setitem(self) -> None:
        _check_keys(self.stack[-2:-1])
        super().load_setitem()

    def load_setitems(self) -> None:
        _check_keys(self.stack[::2])
        super().load_setitems()

    dispatch |= {pickle.DICT[0]: load_dict, pickle.SETITEM[0]: load_setitem, pickle.SETITEMS[0]: load_setitems}


def _check_keys(keys: list) -> None:
    if not all(isinstance(key, str | bytes) for key in keys):
        raise ValueError("a dictionary whose keys are not text")
