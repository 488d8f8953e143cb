"""Smaller variants of a trained run by recipes, made, measured and compared."""

import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kerazoo import _checks, _files
from kerazoo.compress import recipes as recipe_steps
from kerazoo.compress.recipes import Step
from kerazoo.run import anomalies, export_run, pictures, report, variant_measures, variant_table, variants
from kerazoo.run import directory as directories

SOURCE = "float32"  # the name of the run itself in the table
RESULTS, TABLE, PICTURE = "compression.json", "compression.md", "compression.png"


def compress(
    run_dir: str | os.PathLike,
    recipes: Sequence[str],
    to: str | os.PathLike | None = None,
    metric: str | None = None,
    limit: int = 0,
    training: Mapping[str, Any] | None = None,
    data_dir: str | os.PathLike | None = None,
    imports: str | Sequence[str] = (),
    print_fn: Callable[[str], None] = report.log,
    **options: Any,
) -> dict[str, Any]:
    """Makes smaller variants of a trained run, measures them, and prints a table.

    Each variant is a run directory of its own that `kerazoo.load` and all commands take. Measured are the measures of
    the run on dev, and once on test; the bytes of the weights and of the exported model; and of the exported model, in
    a fresh process with TensorFlow alone, the memory and the seconds for 1 and for 16 examples. A variant is on the
    frontier if no other one is at least as good in the measure on dev, in the bytes of its weights and in the seconds
    for one example, and better in one of them.

    A call that was killed goes on where it was: what was made and measured is kept.

    Args:
        run_dir: string or path. The finished run.
        recipes: list of strings, such as `["int8", "float16"]`: the steps of each variant with commas between them, see
            `kerazoo.compress.STEPS`.
        to: string or path. The folder of the variants. Defaults to `None`: `compressed` in the run.
        metric: string. The measure that the frontier is of. Defaults to `None`: the first one of the run.
        limit: int. The largest number of examples of dev and of test that are predicted; 0 for all. Defaults to `0`.
        training: dict. Fields of `TrainingOptions` of the variants that are trained, in place of those of the run.
            Defaults to half of the epochs and half of the learning rate of the run; those of the run for a student.
        data_dir: string or path. Where the data is now, if it moved. Defaults to `None`.
        imports: string or list of strings. Modules that `kerazoo.load` imports first. Defaults to `()`.
        print_fn: function of a string that prints a line about what is done. Defaults to standard error.
        **options: the search and its options, of predictions and of the exported model. Defaults to greedy search.

    Returns:
        dict: `"metric"`, `"frontier"`, the names of the variants on it, and `"variants"` by name with the measures on
        `dev` and `test`, `weights_bytes`, `saved_model_bytes`, `memory` in bytes, `seconds_1` and `seconds_16`. It is
        also written as `compression.json`, with a table `compression.md` and a picture `compression.png`.

    Raises:
        ValueError: if a recipe or the measure is wrong.
        CheckpointError: if there is no run, its weights are in a small format already, or the folder has variants of
            another run.
    """
    steps = [recipe_steps.parse_recipe(recipe) for recipe in recipes]
    if not steps:
        raise ValueError("compress: `recipe` must be given, such as int8; got none.")
    run = directories.RunDirectory(run_dir)
    record = run.record()
    if "stored_weights" in record:
        raise _checks.CheckpointError(
            f"{run.path}: its weights are in a small format already. Compress the run that it was made of, "
            f"{record.get('made_of', {}).get('run_dir')}."
        )
    folder = pathlib.Path(to) if to is not None else run.path / "compressed"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _checks.SetupError(f"{folder}: cannot be created: {error.strerror or error}.") from error
    with directories.RunDirectory(folder).lock():
        settings = {"limit": limit, "options": options}
        maker = variants.VariantMaker(settings, dict(training or {}), data_dir, imports, print_fn)
        call = _Compression(run, folder, settings, maker, print_fn)
        call.choose_metric(metric)
        call.measure(SOURCE, run)
        for each in steps:
            call.measure(recipe_steps.folder_name(each), call.make(each))
        return call.finish()


class _Compression:
    """One call of `compress`."""

    def __init__(self, run, folder, settings, maker, print_fn):
        self.run = run
        self.folder = folder
        self.settings = settings
        self.maker = maker
        self.print = print_fn
        self.results = self._started()

    def _started(self):
        """Returns what an earlier call found, after a comparison of what was asked."""
        from kerazoo.training import CheckpointStore

        store = CheckpointStore(self.run.checkpoints)
        best = store.name("best")
        if best is None:
            raise _checks.CheckpointError(f"{self.run.path}: has no checkpoint. Train it first.")
        source = {"run_dir": os.path.abspath(self.run.path), "weights": store.checksums(best)["model.npz"]}
        wanted = _files.plain({**source, **self.settings})
        path = self.folder / RESULTS
        if not path.exists():
            return {**wanted, "made": [], "variants": {}}
        try:
            found = _files.read_record(path)
        except (OSError, ValueError) as error:
            raise _checks.CheckpointError(f"{path}: cannot be read: {error}. Remove it to measure anew.") from error
        other = next((name for name in ("weights", *self.settings) if found.get(name) != wanted[name]), None)
        if other:
            raise _checks.CheckpointError(
                f"{path}: its variants have other {other} than those of this call: {found.get(other)!r:.80}; got "
                f"{wanted[other]!r:.80}. Choose another folder by `to`."
            )
        return found

    def choose_metric(self, metric):
        """Checks the measure, the first one of the run if there is none."""
        names = variant_measures.names(self.maker.load(self.run), self.run)
        self.results["metric"] = _checks.one_of("compress", "metric", metric or names[0], names)

    def make(self, steps: tuple[Step, ...]) -> directories.RunDirectory:
        """Returns the run that some steps make; each step begins with the run of those before it."""
        run = self.run
        for count, step in enumerate(steps, 1):
            made = directories.RunDirectory(self.folder / recipe_steps.folder_name(steps[:count]))
            if made.path.name not in self.results["made"]:
                self.print(f"{made.path}: {step} of {run.path}")
                self.maker.make(run, made, step, self.results["metric"])
                self.results["made"].append(made.path.name)
                self._write()
            run = made
        return run

    def measure(self, name, run):
        """Adds the numbers of a variant to the results unless they are there."""
        if name in self.results["variants"]:
            return
        self.print(f"{run.path}: is measured")
        predictor, limit, options = self.maker.load(run), self.settings["limit"], self.settings["options"]
        found: dict[str, Any] = {"run_dir": os.path.abspath(run.path)}
        for split in ("dev", "test"):
            evaluated = variant_measures.evaluate(predictor, run, split, limit, options)
            if evaluated is None:
                continue
            result, samples = evaluated
            measures = result["metrics"].items()
            found[split] = {key: value for key, value in measures if not key.startswith(report.BASELINE)}
            if name != SOURCE:
                report.write(run, result, split, samples)
                if predictor.dev_errors and not run.dev_errors.exists():
                    anomalies.save(run, predictor.dev_errors)
        raw = predictor.task.pack(export_run.examples(predictor.task))
        exported = variant_measures.measure_export(
            run, raw, options, data_dir=self.maker.data_dir, imports=self.maker.imports
        )
        self.results["variants"][name] = {**found, **exported}
        self._write()

    def finish(self):
        """Finds the frontier, and writes the results, the table and the picture."""
        self.results["frontier"] = variant_table.frontier(self.results)
        self._write()
        _files.write_file(self.folder / TABLE, variant_table.table(self.results))
        print(variant_table.table(self.results))
        if picture := pictures.draw_frontier(self.results):
            _files.write_file(self.folder / PICTURE, picture)
        return self.results

    def _write(self):
        _files.write_record(self.folder / RESULTS, self.results)
