"""Trains a model of the catalog on a task inside a run directory, and goes on where an earlier call stopped."""

import dataclasses
import importlib.util
import json
import os
import time

import kerazoo
from kerazoo import _files, catalog
from kerazoo.run import batching, report
from kerazoo.run import directory as directories
from kerazoo.run.options import TrainingOptions


def train(
    model,
    task=None,
    run_dir=None,
    model_options=None,
    task_options=None,
    training=None,
    imports=(),
    measure=True,
    tensorboard=True,
    command=(),
):
    """Trains, measures and keeps a model.

    Args:
        model: Name of a catalog row.
        task: Name of a task; the kind of the model has a default.
        run_dir: Folder of the run, `runs/MODEL-TASK` by default. A run that is already there goes on.
        model_options: Constructor arguments of the model that differ from its row.
        task_options: Options of the task.
        training: Fields of `TrainingOptions` that differ from the defaults of the task and of the row.
        imports: Modules to import first (they register models of your own).
        measure: Whether the dev examples are decoded and a table is printed at the end.
        tensorboard: Whether TensorBoard events are written when TensorBoard is installed.
        command: The flags to keep in `run.flags`.

    Returns:
        The `Predictor` of the trained model.

    Raises:
        ValueError: An unknown model, task or option, or a task that the model cannot learn.
        DataError: The data is missing or bad.
        CheckpointError: The folder belongs to another run.
        SetupError: The folder cannot be written, or a package is missing.
    """
    from kerazoo import tasks

    spec = catalog.get(model)
    if {"batch_size", "batch_tokens"} <= set(training or {}):
        raise ValueError(
            "train: give `batch_size` or `batch_tokens`; got "
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
    task = tasks.create(name, spec.kind, **record["task_options"])
    catalog.check_overrides(model, record["model_options"])
    new = run.create(record)
    with run.lock():
        return _Training(run, record, task, options, tensorboard).execute(new, command, measure)


class _Training:
    """One call of `train`: what its steps share."""

    def __init__(self, run, record, task, options, tensorboard):
        self.run = run
        self.record = record
        self.task = task
        self.options = options
        self.tensorboard = tensorboard

    def execute(self, new, command, measure):
        """Prepares, fits and measures."""
        import keras

        from kerazoo.run import evaluation, predictor
        from kerazoo.training import checkpoints

        policy = keras.config.dtype_policy()
        try:
            model = self._prepare(keras, new)
            if new:  # whatever was refused until here leaves no record behind
                self.task.save(self.run.task)
                self.run.save_record(self.record)
                _files.write_file(self.run.path / "run.flags", report.flag_file(self.record, command))
            store = checkpoints.CheckpointStore(self.run.checkpoints, vocabularies=self.task.vocabularies)
            self._fit(model, store)
        finally:
            keras.config.set_dtype_policy(policy)
        store.restore(model, which="best")
        trained = predictor.Predictor(model, self.task)
        if measure:
            result, shown = evaluation.evaluate_predictor(trained, "dev")
            table = evaluation.table(shown, "dev")
            _files.write_file(self.run.evaluation("dev"), json.dumps(result, indent=2) + "\n")
            _files.write_file(
                self.run.report, report.markdown(self.record, result, "dev", table)
            )
            print(table, evaluation.summary(result, "dev"), sep="\n\n")
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
                "TrainingOptions: a stream is cut one way only; got feed='stream' with "
                f"subword_dropout={self.task.options['subword_dropout']}. Leave one out."
            )
        self.task = dataclasses.replace(self.task, streamed=streamed)
        self.corpus, self.dev = self.task.load("train"), self.task.load("dev")
        if not streamed and options.limit and options.limit < len(self.corpus):
            self.corpus = self.corpus.take(range(options.limit))
        # Where subwords are left to chance, every epoch has a corpus of its own, and the plan has room for all.
        self.resampled = None if streamed else self.task.resampled(options.seed)
        planned = self.resampled.bounds.take(range(len(self.corpus))) if self.resampled else self.corpus
        self.plan, self.dev_plan = batching.plans(options, planned, self.dev)
        self.augment = batching.augment(options, self.plan.head if streamed else self.corpus)
        model = predictor.build_model(self.record["model"], self.task, self.record["model_options"])
        if options.packing:
            models.check_packing(model)
        if new:
            pretrained_embeddings.load_vectors(model, self.task, options.seed)
        compiling.compile_model(model, self.task, options, self.plan.steps * options.epochs)
        seconds = time.perf_counter() - started
        report.say(report.headline(self.record, model, self.corpus, self.dev, self.plan, seconds))
        return model

    def _fit(self, model, store):
        from kerazoo import training

        options = self.options
        state = store.restore(model) if store.names() else None
        if state and state["epoch"] >= options.epochs:
            report.say(f"Trained already: {state['epoch']} epochs. --epochs=N with a larger N goes on.")
            return
        if state:
            report.say(f"Goes on in epoch {state['epoch'] + 1}, after step {state['step']:,}.")
        if self._feed() == "device":
            data = {"data": self.corpus, "batch_fn": self.task.batch, "plan": self.plan, "augment": self.augment}
        else:  # the batches come out of the stream finished
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
        corpus = self.resampled.epoch(epoch) if self.resampled else self.corpus
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
    """Returns the task with what it knew when the run began: data that changed since cannot renumber tokens."""
    from kerazoo import tasks

    return tasks.restore(run.task, **task.options)
