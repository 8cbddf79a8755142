"""What `jaxfc calibrate` does: a model whose probabilities were fitted to rows held out, in a file of its own."""

from pathlib import Path

from jaxfc.cli.use import check_free, examples, load_model, model_path

MEASURED = ("log_loss", "ece", "f1", "balanced_acc")


def calibrate(
    run_folder: Path,
    out: Path | None = None,
    threshold: str | None = None,
    data: str | None = None,
    data_dir: str | None = None,
    label: str | None = None,
    split: str = "val",
) -> Path:
    """Write a model with a temperature, and a threshold if asked for; print what they change on these rows.

    Raises:
        FileExistsError: the output file exists.
        FileNotFoundError, FormatError, ValueError, TypeError: a run, model or data that cannot be used.
    """
    out = model_path(run_folder).parent / "calibrated.safetensors" if out is None else out
    check_free(out)
    model = load_model(run_folder)
    name, x, y, w = examples(run_folder, model, data, data_dir, label, None, split)
    better = model.calibrated(x, y, w)
    if threshold is not None:
        better = better.with_threshold(x, y, w, metric=threshold)
    names = [each for each in MEASURED if each in model.task.metrics]
    before, after = (each.evaluate(x, y, w, metrics=names) for each in (model, better))
    check_free(out)  # another process may have been as quick
    better.save(out)
    print(f"{name}: {len(x)} rows")
    print(f"temperature: {float(better.task.temperature):.4f}")
    for each in names:
        print(f"{each}: {before[each]:.4f} before, {after[each]:.4f} now")
    print(f"model: {out}")
    return out
