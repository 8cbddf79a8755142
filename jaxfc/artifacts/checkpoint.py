"""Pytrees of arrays in safetensors files.

A file holds one tensor for each leaf, named by its path in the tree (`state.params.0.w`), and strings
as metadata. It can be read wherever safetensors can, needs no unpickling, and is written atomically.
Checksums of every tensor and of the metadata are among the metadata, and verified on reading.
"""

import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree

from jaxfc.artifacts.files import write_atomically
from jaxfc.errors import FormatError

FORMAT = "jaxfc.format"
CHECKSUMS = "jaxfc.checksums"
CHECKED = "jaxfc.checked"  # says that there are checksums: their own name may be what was corrupted


def save(path: str | Path, tree: PyTree, metadata: dict[str, Any]) -> None:
    """Write a tree of arrays; JAX keys are kept as their words.

    Args:
        path: the file; replaced in one step if it exists.
        tree: arrays, JAX's or NumPy's. Its layout, the list of leaf names, is added to the metadata.
        metadata: whatever JSON can hold, kept beside the arrays.

    Raises:
        OSError: the file cannot be written; what stood there before is untouched.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(Path(folder, "tree.safetensors"), {"w": np.ones(2)}, {FORMAT: "my tree"})
    """
    import safetensors.numpy

    leaves = _named_leaves(tree)
    tensors = {name: np.asarray(_words(leaf), order="C") for name, leaf in leaves.items()}
    metadata = metadata | {"layout": list(leaves), CHECKED: "crc32"}
    text = {key: value if isinstance(value, str) else json.dumps(value) for key, value in metadata.items()}
    text[CHECKSUMS] = json.dumps(_checksums(tensors, text))
    write_atomically(path, safetensors.numpy.save(tensors, text))


def read(path: str | Path, *, kind: str) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Return a file's tensors by name, and its metadata.

    Args:
        path: the file.
        kind: what its metadata must call it, under `"jaxfc.format"`.

    Raises:
        FileNotFoundError: there is no such file.
        FormatError: it is corrupted (a checksum does not fit) or truncated, or of another kind.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "tree.safetensors")
    ...     save(path, {"layers": [np.ones(2), np.zeros(3)]}, {FORMAT: "my tree"})
    ...     tensors, metadata = read(path, kind="my tree")
    >>> sorted(tensors)
    ['layers.0', 'layers.1']
    """
    import safetensors

    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; expected a {kind}")
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no dict)
    except safetensors.SafetensorError as error:
        raise FormatError(f"{path} is no complete safetensors file ({error}): restore it from a copy") from error
    if metadata.get(FORMAT) != kind:
        raise FormatError(f"{path} is a {metadata.get(FORMAT, 'safetensors file of another program')}, not a {kind}")
    _verify(path, tensors, metadata)
    return tensors, metadata


def _checksums(tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> dict[str, int]:
    sums = {name: _checksum(tensor) for name, tensor in tensors.items()}
    rest = json.dumps({name: metadata[name] for name in sorted(metadata) if name != CHECKSUMS})
    return sums | {"": zlib.crc32(rest.encode())}


def _checksum(tensor: np.ndarray) -> int:
    if not tensor.size:  # its shape is all that it has, and no byte would tell if that changed
        return zlib.crc32(str(tensor.shape).encode())
    return zlib.crc32(tensor.reshape(-1).view(np.uint8))


def _verify(path: Path, tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> None:
    if CHECKSUMS not in metadata and CHECKED not in metadata:
        return  # of version 0.1
    try:
        expected = dict(json.loads(metadata[CHECKSUMS]))
    except (KeyError, ValueError, TypeError, RecursionError) as error:
        raise FormatError(f"{path} is corrupted (its checksums cannot be read): restore it from a copy") from error
    for name, checksum in _checksums(tensors, metadata).items():
        if expected.get(name) != checksum:
            what = f"the tensor {name}" if name else "its metadata"
            raise FormatError(f"{path} is corrupted ({what} has another checksum): restore it from a copy")


def kind(path: str | Path) -> str | None:
    """What a file's metadata call it; None for a file that is not there, or none of this library's.

    >>> kind("absent.safetensors") is None
    True
    """
    return metadata(path).get(FORMAT)


def metadata(path: str | Path) -> dict[str, str]:
    """A file's metadata, not verified; empty where there is no such file, or it cannot be read.

    >>> metadata("absent.safetensors")
    {}
    """
    import safetensors

    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            return file.metadata() or {}
    except (safetensors.SafetensorError, OSError):
        return {}


def load(path: str | Path, like: PyTree, *, kind: str) -> PyTree:
    """Read a tree back.

    Args:
        path: the file.
        like: a tree of the layout expected, of arrays or `jax.ShapeDtypeStruct`s. A NumPy leaf comes
            back as NumPy, of whatever length; every other leaf must have the shape and dtype given.
        kind: see `read`.

    Raises:
        FileNotFoundError, FormatError: as `read`.
        ValueError: the file holds another tree; the first difference is named.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "tree.safetensors")
    ...     save(path, {"w": np.ones(2)}, {FORMAT: "my tree"})
    ...     load(path, like={"w": np.zeros(2)}, kind="my tree")
    {'w': array([1., 1.])}
    """
    tensors, _ = read(path, kind=kind)
    return restore(tensors, like, path)


def restore(tensors: dict[str, np.ndarray], like: PyTree, path: str | Path) -> PyTree:
    """Arrange tensors, as `read` returns them, in the tree `like`; see `load`.

    >>> restore({"w": np.ones(2)}, {"b": np.ones(2)}, "tree.safetensors")
    Traceback (most recent call last):
    ValueError: tree.safetensors lacks b: it belongs to another network or update rule
    """
    expected = _named_leaves(like)
    for name in sorted(expected.keys() ^ tensors.keys()):
        where = "lacks" if name in expected else "has an unexpected"
        raise ValueError(f"{path} {where} {name}: it belongs to another network or update rule")
    leaves = [_leaf(name, tensors[name], leaf, path) for name, leaf in expected.items()]
    return jax.tree.unflatten(jax.tree.structure(like), leaves)


def _leaf(name: str, tensor: np.ndarray, like: Any, path: str | Path) -> Any:
    if isinstance(like, np.ndarray):
        return tensor
    is_key = jax.dtypes.issubdtype(like.dtype, jax.dtypes.prng_key)
    words = jax.eval_shape(jax.random.key_data, like) if is_key else like
    if tensor.shape != words.shape or tensor.dtype != words.dtype:
        raise ValueError(
            f"{path}: {name} is {tensor.dtype} {tensor.shape} where {words.dtype} {words.shape} is expected: "
            "it belongs to another network or update rule"
        )
    array = jax.numpy.asarray(tensor)
    return jax.random.wrap_key_data(array, impl=_generator(like)) if is_key else array


def _generator(key: Any) -> Any:
    """The random generator of a key, of which there need be no more than its shape."""
    found: list[Any] = []
    jax.eval_shape(lambda key: found.append(jax.random.key_impl(key)), key)
    return found[0]


def _named_leaves(tree: PyTree) -> dict[str, Any]:
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in leaves}


def _words(leaf: Any) -> Any:
    is_key = jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    return jax.random.key_data(leaf) if is_key else leaf
