"""Makes a smaller variant of a run by a step of a recipe; it is a run as well."""

import os
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from kerazoo import _files
from kerazoo.compress import recipes as recipe_steps
from kerazoo.compress.recipes import Step
from kerazoo.run import batching, load_run, model_building, trainer, variant_measures, variant_table
from kerazoo.run import directory as directories
from kerazoo.run import predictor as predictors
from kerazoo.run.options import TrainingOptions

if TYPE_CHECKING:
    from kerazoo.tasks import Task

SEPARATE = ("intermediate_dim", "num_heads")  # sizes of which each layer has units of its own
# Options of a training that tell what it learns from.
TEACHING = ("teacher", "teacher_data", "distillation", "distillation_weight", "distillation_temperature",
            "distillation_hidden")  # fmt: skip
# Those that tell what of the weights that it starts from is trained.
ADAPTING = ("freeze", "unfreeze", "lora", "lora_alpha", "lora_layers")
PERCENTILES = (100.0, 99.99, 99.9)  # of the inputs of layers, of which dev chooses
CALIBRATION_EXAMPLES, CALIBRATION_BATCH = 512, 64


class VariantMaker:
    """Makes the variants of one call of `compress`.

    Args:
        settings: dict with `limit` and `options`, the arguments of an evaluation.
        training: dict. Fields of `TrainingOptions` of the variants that are trained.
        data_dir: string or path, or `None`.
        imports: string or list of strings.
        print_fn: function of a string that prints a line.
    """

    def __init__(
        self,
        settings: Mapping[str, Any],
        training: Mapping[str, Any],
        data_dir: str | os.PathLike | None,
        imports: str | Sequence[str],
        print_fn: Callable[[str], None],
    ):
        self.settings = settings
        self.training = training
        self.data_dir = data_dir
        self.imports = imports
        self.print = print_fn

    def load(self, run: directories.RunDirectory) -> predictors.Predictor:
        """Returns the predictor of a run."""
        return load_run.load(run.path, data_dir=self.data_dir, imports=self.imports)

    def make(self, run: directories.RunDirectory, made: directories.RunDirectory, step: Step, metric: str) -> None:
        """Makes a run of another one; one that is there is trained to its end.

        Args:
            run: `RunDirectory`. What the step begins with.
            made: `RunDirectory`. The new run.
            step: `Step`.
            metric: string. The measure on dev by which the step may choose.
        """
        if step.name in recipe_steps.STORED:
            self._store(run, made, step, metric)
        elif step.name in recipe_steps.DISTILLED:
            self._distil(run, made, step)
        else:
            self._change(run, made, step)
            self._train(made)

    def _opened(self, run):
        """Returns the predictor of a run and its record, of one with LoRA those of the merged weights."""
        from kerazoo import transfer

        predictor, record = self.load(run), {**run.record(), "calls": []}
        transfer.merge_lora(predictor.model)
        plain = {name: getattr(TrainingOptions, name) for name in ADAPTING}
        record["training"] = {**record["training"], **plain}
        record.pop("start", None)
        return predictor, record

    def _store(self, run, made, step, metric):
        """Writes a run whose weights are in a small format."""
        from kerazoo import compress

        if made.exists():
            return
        predictor, record = self._opened(run)
        if step.name == recipe_steps.STATIC:
            record["calibration"], ranges = self._calibrate(run, predictor, step, metric)
        else:
            ranges = ()
        stored = compress.quantize(predictor.model, recipe_steps.STORED[step.name], ranges)
        record |= {"stored_weights": stored, "made_of": _origin(run, step)}
        write_run(made, record, predictor, run.baseline, best=True)

    def _calibrate(self, run, predictor, step, metric):
        """Returns how the ranges of the inputs of layers are found, and these, the best ones on dev."""
        from kerazoo import compress

        observed = compress.observe(predictor.model, _training_batches(predictor.task))
        choices = {
            percentile: [values.range(percentile) for values in observed]
            for percentile in ([float(step.value)] if step.value else PERCENTILES)
        }
        values = self._measured(run, choices, metric) if len(choices) > 1 else {}
        best = next(iter(choices))
        if values:
            best = (max if variant_table.higher_is_better(metric) else min)(values, key=lambda each: values[each])
        return {"percentile": best, "dev": values}, choices[best]

    def _measured(self, run, choices, metric):
        """Returns the measure on dev for the ranges of each percentile, nothing without dev examples."""
        from kerazoo import compress

        found = {}
        for percentile, ranges in choices.items():
            predictor, _ = self._opened(run)
            compress.quantize(predictor.model, "int8", ranges)
            evaluated = variant_measures.evaluate(
                predictor, run, "dev", self.settings["limit"], self.settings["options"]
            )
            if evaluated is None:
                break
            found[percentile] = evaluated[0]["metrics"][metric]
            self.print(f"int8_static:{percentile:g} has {metric}={found[percentile]:.4f} on dev")
        return found

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
                smaller = model_building.build_model(name, predictor.task, options)
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


def _training_batches(task: "Task") -> Iterator[Any]:
    """Yields the inputs of some training examples in batches, as a model reads them."""
    from kerazoo import data

    corpus: Any = task.load("train")
    corpus = corpus.sample(CALIBRATION_EXAMPLES)
    plan = data.Plan.of(corpus, batch_size=min(CALIBRATION_BATCH, len(corpus)), shuffle=False)
    for inputs, *_ in batching.stream(corpus, plan, task.batch, 0, None):
        yield inputs


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
