"""What `jaxfc export` does: a trained model, written for other programs."""

from pathlib import Path

from jaxfc.artifacts.ensemble import Ensemble
from jaxfc.artifacts.files import write_atomically
from jaxfc.cli.use import check_free, load_model

ENDINGS = {"onnx": "onnx", "stablehlo": "stablehlo", "torch": "pt2"}
READ_BY = {
    "onnx": "any runtime of ONNX",
    "stablehlo": "jax.export.deserialize, for CPU, GPU and TPU",
    "torch": "torch.export.load",
}


def export(run_folder: Path, to: str, out: Path | None = None, input_dtype: str = "float32") -> Path:
    """Write a model for other programs.

    Raises:
        FileExistsError: the output file exists.
        FileNotFoundError, FormatError: a run or model that cannot be used.
        ImportError: a package that writes the format is not installed.
        ValueError, TypeError: a model that the format cannot hold.
    """
    if out is None:
        folder, stem = (run_folder, "model") if run_folder.is_dir() else (run_folder.parent, run_folder.stem)
        out = folder / f"{stem}.{ENDINGS[to]}"
    check_free(out)
    model = load_model(run_folder)
    if to == "onnx":
        model.to_onnx(out, dtype=input_dtype)
    elif to == "stablehlo":
        model.export(out, dtype=input_dtype)
    elif isinstance(model, Ensemble):
        raise TypeError(f"{run_folder} holds an ensemble, and --to torch is for a single FCNet: use --to onnx")
    else:
        from jaxfc.artifacts.exports.torch_module import program_of

        write_atomically(out, program_of(model))
    print(f"{out}: {out.stat().st_size:,} bytes, read by {READ_BY[to]}")
    return out
