"""Trains a model of the catalog on a task in a run directory, and resumes a run that stopped."""

import dataclasses
import importlib.util
import os
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import kerazoo
from kerazoo import _files, catalog
from kerazoo.run import batching, report
from kerazoo.run import directory as directories
from kerazoo.run.options import TrainingOptions

if TYPE_CHECKING:
    from kerazoo.run.predictor import Predictor


def train(
    model: str,
    task: str | None = None,
    run_dir: str | os.PathLike | None = None,
    model_options: Mapping[str, Any] | None = None,
    task_options: Mapping[str, Any] | None = None,
    training: Mapping[str, Any] | None = None,
    imports: Sequence[str] = (),
    evaluate: bool = True,
    tensorboard: bool = True,
    command: Sequence[str] = (),
) -> "Predictor":
    """Trains a model, evaluates it and saves it in a run directory.

    Args:
        model: string. The name of a model of the catalog.
        task: string. The name of a task. Defaults to `None`: the default task of the kind of the model.
        run_dir: string or path. The folder of the run. A run that exists there is resumed. Defaults to `None`:
            `runs/MODEL-TASK`.
        model_options: dict. Constructor arguments that replace those of the catalog. Defaults to `None`.
        task_options: dict. Options of the task. Defaults to `None`.
        training: dict. Fields of `TrainingOptions` that replace the defaults of the task and of the model. Defaults to
            `None`.
        imports: list of strings. Modules to import first, which register the user's models. Defaults to `()`.
        evaluate: bool. Whether the dev examples are predicted and a table is printed at the end. Defaults to `True`.
        tensorboard: bool. Whether TensorBoard events are written, if TensorBoard is installed. Defaults to `True`.
        command: list of strings. The flags that are saved in `run.flags`. Defaults to `()`.

    Returns:
        The `Predictor` of the trained model.

    Raises:
        ValueError: if a model, task or option is unknown, or the task does not fit the kind of the model.
        DataError: if the data is missing or cannot be read.
        CheckpointError: if the folder belongs to another run.
        SetupError: if the folder cannot be written, or a package is missing.
    """
    from kerazoo import tasks

    spec = catalog.get(model)
    if training and {"batch_size", "batch_tokens"} <= set(training):
        raise ValueError(
            "train: set either `batch_size` or `batch_tokens`; got "
            f"batch_size={training['batch_size']}, batch_tokens={training['batch_tokens']}."
        )
    name = task or tasks.default(spec.kind)
    options = TrainingOptions().replace(**{**tasks.training(name, spec.kind), **spec.training, **(training or {})})
    run = directories.RunDirectory(run_dir or os.path.join("runs", f"{model}-{name.replace(':', '-')}"))
    record = {
        "kerazoo": kerazoo.__version__,
        "model": model,
        "model_options": dict(model_options or {}),
        "task": name,
        "task_options": dict(task_options or {}),
        "training": options.to_dict(),
        "import": list(imports),
    }
    created = tasks.create(name, spec.kind, **record["task_options"])
    catalog.check_overrides(model, record["model_options"])
    new = run.create(record)
    with run.lock():
        return _Training(run, record, created, options, tensorboard).execute(new, command, evaluate)


class _Training:
    """One call of `train`, and the state that its steps share."""

    def __init__(self, run, record, task, options, tensorboard):
        self.run = run
        self.record = record
        self.task = task
        self.options = options
        self.tensorboard = tensorboard

    def execute(self, new, command, evaluate):
        """Prepares, fits and evaluates the model."""
        import keras

        from kerazoo.run import evaluation, predictor
        from kerazoo.training import checkpoints

        policy = keras.config.dtype_policy()
        try:
            model = self._prepare(keras, new)
            if new:  # an error before this line leaves no record
                self.task.save(self.run.task)
                self.run.save_record(self.record)
                _files.write_file(self.run.path / "run.flags", report.flag_file(self.record, command))
            store = checkpoints.CheckpointStore(self.run.checkpoints, vocabularies=self.task.vocabularies)
            self._fit(model, store)
        finally:
            keras.config.set_dtype_policy(policy)
        store.restore(model, which="best")
        trained = predictor.Predictor(model, self.task)
        if evaluate:
            result, samples = evaluation.evaluate_predictor(trained, "dev")
            evaluation.publish(self.run, result, "dev", samples)
        print("\n" + report.next_commands(self.run, self.task), flush=True)
        return trained

    def _prepare(self, keras, new):
        from kerazoo import models
        from kerazoo.run import compiling, predictor, pretrained_embeddings

        options, started = self.options, time.perf_counter()
        keras.config.set_dtype_policy(options.dtype)
        keras.utils.set_random_seed(options.seed)
        if not new:
            self.task = _with_saved_vocabulary(self.run, self.task)
        streamed = options.feed == "stream"
        if streamed and self.task.options.get("subword_dropout"):
            raise ValueError(
                "TrainingOptions: a stream cannot resample subwords; got feed='stream' with "
                f"subword_dropout={self.task.options['subword_dropout']}. Set one of them only."
            )
        self.task = dataclasses.replace(self.task, streamed=streamed)
        self.corpus: Any = self.task.load("train")  # a `Corpus`, or a `Stream` if streamed
        self.dev: Any = self.task.load("dev")
        # With subword dropout each epoch has a different corpus, and the plan bounds the lengths of all of them.
        self.resampled = None if streamed else self.task.resampled(options.seed)
        if not streamed:
            self.corpus = self._limited(self.corpus)
        planned = self._limited(self.resampled.bounds) if self.resampled else self.corpus
        self.plan, self.dev_plan = batching.plans(options, planned, self.dev)
        self.augment = batching.augment(options, self.plan.head if streamed else self.corpus)
        model = predictor.build_model(self.record["model"], self.task, self.record["model_options"])
        if options.packing:
            models.check_packing(model)
        if new:
            pretrained_embeddings.load_vectors(model, self.task, options.seed)
        compiling.compile_model(model, self.task, options, self.plan.steps * options.epochs)
        seconds = time.perf_counter() - started
        report.log(report.headline(self.record, model, self.corpus, self.dev, self.plan, seconds))
        return model

    def _fit(self, model, store):
        from kerazoo import training

        options = self.options
        state = store.restore(model) if store.names() else None
        if state and state["epoch"] >= options.epochs:
            report.log(f"Trained already: {state['epoch']} epochs. Set a larger `epochs` to continue.")
            return
        if state:
            report.log(f"Resumes in epoch {state['epoch'] + 1}, after step {state['step']:,}.")
        if self._feed() == "device":
            data: dict[str, Any] = {
                "data": self.corpus,
                "batch_fn": self.task.batch,
                "plan": self.plan,
                "augment": self.augment,
            }
        else:  # the stream yields complete batches
            data = {"data": self._stream}
        training.fit(
            model,
            **data,
            epochs=options.epochs,
            callbacks=self._callbacks(store),
            validation_data=(self.dev, self.dev_plan, self.task.batch),
            resume=state,
            steps_per_execution=options.steps_per_execution or None,
            jit_compile=options.xla,
        )

    def _limited(self, corpus):
        return corpus.sample(self.options.limit) if self.options.limit else corpus

    def _feed(self):
        if self.resampled:
            if self.options.feed == "device":
                raise ValueError(
                    "TrainingOptions: feed='device' holds one corpus for all epochs; got feed='device' with "
                    f"subword_dropout={self.task.options['subword_dropout']}. Try feed='auto'."
                )
            return "tf.data"
        if self.options.feed != "auto":
            return self.options.feed
        return batching.choose_feed(self.corpus)

    def _stream(self, epoch):
        corpus = self._limited(self.resampled.epoch(epoch)) if self.resampled else self.corpus
        return batching.stream(corpus, self.plan, self.task.batch, epoch, self.augment)

    def _callbacks(self, store):
        import keras

        from kerazoo import training

        metric, mode = self.task.monitor
        chosen = [
            training.StopOnNonFinite(store),
            training.Progress(),
            training.MetricsLog(self.run.metrics),
            training.Checkpoints(store, monitor=metric, mode=mode, patience=self.options.patience),
        ]
        if self.tensorboard and importlib.util.find_spec("tensorboard"):
            chosen.append(keras.callbacks.TensorBoard(str(self.run.events), write_graph=False, profile_batch=0))
        return chosen


def _with_saved_vocabulary(run, task):
    """Returns the task with the state of the run, so that data that changed since cannot renumber its tokens."""
    from kerazoo import tasks

    return tasks.restore(run.task, **task.options)
