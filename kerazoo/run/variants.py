"""Smaller variants of a trained run by recipes, each an ordinary run, measured and compared."""

import os
import pathlib
import tempfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kerazoo import _checks, _files
from kerazoo.compress import recipes as recipe_steps
from kerazoo.compress.recipes import Step
from kerazoo.run import anomalies, evaluation, export_run, pictures, report, trainer
from kerazoo.run import directory as directories
from kerazoo.run import predictor as predictors
from kerazoo.run.options import TrainingOptions

SEPARATE = ("intermediate_dim", "num_heads")  # sizes of which each layer has units of its own
# Options of a training that tell what it learns from.
TEACHING = ("teacher", "teacher_data", "distillation", "distillation_weight", "distillation_temperature",
            "distillation_hidden")  # fmt: skip
# Those that tell what of the weights that it starts from is trained.
ADAPTING = ("freeze", "unfreeze", "lora", "lora_alpha", "lora_layers")
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
        call = _Compression(run, folder, settings, dict(training or {}), data_dir, imports, print_fn)
        call.choose_metric(metric)
        call.measure(SOURCE, run)
        for each in steps:
            call.measure(recipe_steps.folder_name(each), call.make(each))
        return call.finish()


class _Compression:
    """One call of `compress`."""

    def __init__(self, run, folder, settings, training, data_dir, imports, print_fn):
        self.run = run
        self.folder = folder
        self.settings = settings
        self.training = training
        self.data_dir = data_dir
        self.imports = imports
        self.print = print_fn
        self.results = self._started()

    def _started(self):
        """Returns what an earlier call found, after a comparison of what was asked."""
        from kerazoo.training import CheckpointStore

        store = CheckpointStore(self.run.checkpoints)
        best = store.best() or next(iter(store.names()[::-1]), None)
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
        predictor = self._load(self.run)
        target = predictor.task.targets
        if target.evaluated_by_loss:
            names = ["nats" if predictor.task.is_language_model else "loss"]
            names += [metric.name for metric in predictor.task.metrics()]
        else:
            chosen = self.run.record()["training"].get("metrics", ())
            names = [row.name for row in target.chosen_measures(tuple(chosen) or None)]
        self.results["metric"] = _checks.one_of("compress", "metric", metric or names[0], names)

    def _load(self, run):
        return predictors.load(run.path, data_dir=self.data_dir, imports=self.imports)

    def _opened(self, run):
        """Returns the predictor of a run and its record, of one with LoRA those of the merged weights."""
        from kerazoo import transfer

        predictor, record = self._load(run), {**run.record(), "calls": []}
        transfer.merge_lora(predictor.model)
        plain = {name: getattr(TrainingOptions, name) for name in ADAPTING}
        record["training"] = {**record["training"], **plain}
        record.pop("start", None)
        return predictor, record

    def make(self, steps: tuple[Step, ...]) -> directories.RunDirectory:
        """Returns the run that some steps make; each step begins with the run of those before it."""
        run = self.run
        for count, step in enumerate(steps, 1):
            made = directories.RunDirectory(self.folder / recipe_steps.folder_name(steps[:count]))
            if made.path.name not in self.results["made"]:
                self.print(f"{made.path}: {step} of {run.path}")
                if step.name in recipe_steps.STORED:
                    self._store(run, made, step)
                elif step.name in recipe_steps.DISTILLED:
                    self._distil(run, made, step)
                else:
                    self._change(run, made, step)
                    self._train(made)
                self.results["made"].append(made.path.name)
                self._write()
            run = made
        return run

    def _store(self, run, made, step):
        """Writes a run whose weights are in a small format."""
        from kerazoo import compress

        if made.exists():
            return
        predictor, record = self._opened(run)
        stored = compress.quantize(predictor.model, recipe_steps.STORED[step.name])
        record |= {"stored_weights": stored, "made_of": _origin(run, step)}
        write_run(made, record, predictor, run.baseline, best=True)

    def _change(self, run, made, step):
        """Writes the run of a pruned, smaller or factorized model, which is trained then."""
        from kerazoo import compress

        if made.exists():
            return
        predictor, record = self._opened(run)
        was_pruned = bool(record["training"].get("prune"))
        changes = {
            "prune": step.value if step.name == "prune" else "0" if was_pruned else "",
            "rounding": step.value if step.name == "round" else "",
        }
        record |= {"made_of": _origin(run, step), "training": self._tuning(record, changes)}
        record.pop("schedule", None)
        if step.name == "low_rank":
            record["low_rank"] = compress.factorize(predictor.model, float(step.value))
        elif step.name == "shrink":
            record["model_options"] = self._shrink(predictor, record, recipe_steps.parse_sizes(step.value))
        write_run(made, record, predictor, run.baseline, best=False)

    def _tuning(self, record, changes):
        """Returns the options of the training that follows a change of a run."""
        saved = record["training"]
        rate = saved["learning_rate"] if saved["learning_rate"] != "find" else record["found"]["learning_rate"]
        plain = {name: getattr(TrainingOptions, name) for name in TEACHING}
        tuning = {"epochs": max(1, round(saved["epochs"] / 2)), "learning_rate": rate / 2, **changes, **self.training}
        return TrainingOptions().replace(**{**saved, **plain, **tuning}).to_dict()

    def _shrink(self, predictor, record, sizes):
        """Puts a model with smaller sizes into a predictor, and returns the options of the model."""
        from kerazoo import catalog, compress

        name, options = record["model"], dict(record["model_options"])
        catalog.check_overrides(name, sizes)
        for option, to in sizes.items():
            old = _plain_size(options.get(option, catalog.get(name).explain()[option][0]))
            new = _plain_size(to)
            if len(old) != len(new):
                raise ValueError(f"`recipe`: shrink needs {len(old)} sizes for {option}; got {to!r}.")
            for index in range(len(old)):
                if new[index] == old[index]:
                    continue
                size, old[index] = old[index], new[index]
                options |= {
                    option: old[0] if isinstance(to, int) else tuple(old),
                    **_width_of_heads(name, options, option),
                }
                smaller = predictors.build_model(name, predictor.task, options)
                part, _, last = option.rpartition(".")
                compress.shrink(
                    predictor.model,
                    smaller,
                    size,
                    new[index],
                    width=options[f"{part}.head_dim".lstrip(".")] if last == "num_heads" else 1,
                    shared=last not in SEPARATE,
                    at_end=last == "encoder_units" or part.startswith("encoder"),
                )
                predictor.model = smaller
        return options

    def _train(self, made):
        """Trains what `_change` wrote; a call that was killed goes on."""
        record = made.record()
        trainer.train(
            record["model"], record["task"], made.path, record["model_options"], self._task_options(record),
            _given(record["training"]), record["import"], evaluate=False, tensorboard=False, print_fn=self.print,
        )  # fmt: skip

    def _distil(self, run, made, step):
        """Trains a new model, the student of a run."""
        record = run.record()
        name, _, sizes = step.value.partition(":")
        chosen = recipe_steps.DISTILLED[step.name]
        teachers = [str(run.path), *self.training.get("teacher", ())]
        plain = {name: getattr(TrainingOptions, name) for name in ("prune", "rounding", *TEACHING, *ADAPTING)}
        plain["distillation"] = chosen
        training = _given({**record["training"], **plain, **self.training, "teacher": teachers})
        trainer.train(
            name, record["task"], made.path, recipe_steps.parse_sizes(sizes), self._task_options(record), training,
            record["import"], evaluate=False, tensorboard=False, print_fn=self.print,
        )  # fmt: skip

    def _task_options(self, record):
        moved = {} if self.data_dir is None else {"data_dir": self.data_dir}
        return {**record["task_options"], **moved}

    def measure(self, name, run):
        """Adds the numbers of a variant to the results unless they are there."""
        if name in self.results["variants"]:
            return
        self.print(f"{run.path}: is measured")
        predictor, limit, options = self._load(run), self.settings["limit"], self.settings["options"]
        found: dict[str, Any] = {"run_dir": os.path.abspath(run.path)}
        baseline = evaluation.baselines.load(run)
        metrics = tuple(run.record()["training"].get("metrics", ()))
        for split in ("dev", "test"):
            try:
                result, samples = evaluation.evaluate_predictor(
                    predictor, split, limit, metrics=metrics, baseline=baseline, **options
                )
            except _checks.NoExamplesError:
                continue
            measures = result["metrics"].items()
            found[split] = {key: value for key, value in measures if not key.startswith(report.BASELINE)}
            if name != SOURCE:
                report.write(run, result, split, samples)
                if predictor.dev_errors and not run.dev_errors.exists():
                    anomalies.save(run, predictor.dev_errors)
        self.results["variants"][name] = {**found, **self._exported(run, predictor.task)}
        self._write()

    def _exported(self, run, task):
        """Returns the sizes of a run, and those, the time and the memory of its exported model."""
        from kerazoo import export
        from kerazoo.training import CheckpointStore

        store = CheckpointStore(run.checkpoints)
        weights = run.checkpoints / str(store.best() or store.names()[-1]) / "model.npz"
        raw = task.pack(export_run.examples(task))
        with tempfile.TemporaryDirectory() as folder:
            path = export_run.export(
                run.path, pathlib.Path(folder, "saved"), verify=False, data_dir=self.data_dir, imports=self.imports,
                **self.settings["options"],
            )  # fmt: skip
            size = sum(each.stat().st_size for each in path.rglob("*") if each.is_file())
            timed = export.measure_latency(path, raw)
        return {
            "weights_bytes": weights.stat().st_size,
            "saved_model_bytes": size,
            "memory": timed["memory"],
            **{f"seconds_{count}": value for count, value in timed["seconds"].items()},
        }

    def finish(self):
        """Finds the frontier, and writes the results, the table and the picture."""
        self.results["frontier"] = frontier(self.results)
        self._write()
        _files.write_file(self.folder / TABLE, table(self.results))
        print(table(self.results))
        if picture := pictures.draw_frontier(self.results):
            _files.write_file(self.folder / PICTURE, picture)
        return self.results

    def _write(self):
        _files.write_record(self.folder / RESULTS, self.results)


def _origin(run, step):
    """Returns what a run was made of, as plain values."""
    return {"run_dir": os.path.abspath(run.path), "step": str(step)}


def _given(training):
    """Returns the options of a training as `train` takes them: with one of the two sizes of a batch."""
    other = "batch_size" if training["batch_tokens"] else "batch_tokens"
    return {name: value for name, value in training.items() if name != other}


def _width_of_heads(model, options, option):
    """Returns the option that keeps the width of heads where their number changes, as it was for the old number."""
    from kerazoo import catalog

    part, dot, last = option.rpartition(".")
    if last != "num_heads":
        return {}
    defaults = {name: default for name, (default, _) in catalog.get(model).explain().items()} | options
    width, groups = f"{part}{dot}head_dim", defaults.get(f"{part}{dot}num_key_value_heads")
    if width not in defaults or groups:
        raise ValueError(
            f"`recipe`: shrink leaves out heads of models that have `head_dim` and a key for each head; got {model}."
        )
    return {width: defaults[width] or defaults[f"{part}{dot}hidden_dim"] // defaults[option]}


def _plain_size(value):
    return list(value) if isinstance(value, list | tuple) else [value]


def write_run(
    run: directories.RunDirectory,
    record: Mapping[str, Any],
    predictor: predictors.Predictor,
    baseline: pathlib.Path,
    best: bool,
) -> None:
    """Writes a model as a run directory that is there as a whole or not at all.

    Args:
        run: `RunDirectory`. The new run.
        record: dict. Its record.
        predictor: `Predictor`. The model and the task.
        baseline: path. The file of the baseline of the run that it is made of.
        best: bool. Whether it is finished; a run that is trained then has a best state of its own.
    """
    from kerazoo.training import CheckpointStore

    with _files.new_folder(run.path) as path:
        new = directories.RunDirectory(path)
        predictor.task.save(new.task)
        if baseline.exists():
            _files.write_file(new.baseline, baseline.read_bytes())
        state = {"step": 0, "epoch": 0, "position": 0, "history": [], "run": {**record, "calls": []}}
        store = CheckpointStore(new.checkpoints, vocabularies=predictor.task.vocabularies)
        store.save(predictor.model, state, best=best)
        _files.write_file(new.flags, f"# made of {record['made_of']['run_dir']} by experiments.compress\n")
        new.save_record(record)


def higher_is_better(metric: str) -> bool:
    """Returns whether a higher value of a measure is better."""
    from kerazoo.tasks import MEASURES

    return bool(metric in MEASURES and MEASURES.get(metric).higher_is_better)


def frontier(results: Mapping[str, Any]) -> list[str]:
    """Returns the names of the variants that no other one dominates.

    It counts the measure on dev, the bytes of the weights, and the seconds for one example.

    Args:
        results: dict with the `metric` and the `variants`.
    """
    sign = -1 if higher_is_better(results["metric"]) else 1
    points = {
        name: (sign * each["dev"][results["metric"]], each["weights_bytes"], each["seconds_1"])
        for name, each in results["variants"].items()
        if "dev" in each
    }
    return [
        name
        for name, point in points.items()
        if not any(other != point and all(a <= b for a, b in zip(other, point)) for other in points.values())
    ]


def table(results: Mapping[str, Any]) -> str:
    """Returns the results as a table in Markdown, a star for the variants on the frontier."""
    metric = results["metric"]
    lines = [
        f"| variant | {metric}, dev | {metric}, test | weights, KB | exported, KB | memory, MB | 1 example, ms | "
        "16 examples, ms | frontier |",
        "|" + "---|" * 9,
    ]
    for name, each in results["variants"].items():
        measured = [f"{each[split][metric]:.4f}" if split in each else "-" for split in ("dev", "test")]
        sizes = [f"{each[size] / 1000:,.1f}" for size in ("weights_bytes", "saved_model_bytes")]
        rest = [f"{each['memory'] / 1e6:,.1f}", *(f"{1000 * each[f'seconds_{n}']:.2f}" for n in (1, 16))]
        star = "*" if name in results["frontier"] else ""
        lines.append("| " + " | ".join([name, *measured, *sizes, *rest, star]) + " |")
    return "\n".join(lines) + "\n"
