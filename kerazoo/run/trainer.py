"""Trains a model of the catalog on a task in a run directory, and resumes a run that stopped."""

import contextlib
import dataclasses
import datetime
import functools
import importlib.util
import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import kerazoo
from kerazoo import _checks, _files, catalog
from kerazoo.run import anomalies, baselines, batching, memory, report, resuming, signals, trained_layers
from kerazoo.run import directory as directories
from kerazoo.run.options import TrainingOptions

if TYPE_CHECKING:
    from kerazoo.run.predictor import Predictor
    from kerazoo.run.start import Start

PRUNINGS = 50  # of a training that prunes, about: how often the zeros become more
MAX_REWINDS = 3  # of a run that diverges
TRIED = 100_000  # examples at most of the trials of a corpus that the device does not hold


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
    override_resume: bool = False,
    command: Sequence[str] = (),
    start: "Start | None" = None,
    print_fn: Callable[[str], None] = report.log,
) -> "Predictor":
    """Trains a model, evaluates it and saves it in a run directory.

    A run that exists is continued: `epochs`, `patience`, `average_checkpoints` and `checkpoint_every` may differ from
    the call before, and the schedule of the learning rate is that of all `epochs`. What changes more than the length of
    the training, other data or another batch size for example, is refused with the differences unless
    `override_resume` is `True`.

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
        override_resume: bool. Whether a run continues although its training options or its data changed. Defaults to
            `False`.
        command: list of strings. The flags that are saved in `run.flags`. Defaults to `()`.
        start: `kerazoo.run.Start`. The weights and vocabularies that the run begins with, see `finetune`. Defaults to
            `None`: new ones.
        print_fn: function of a string that prints a line about the run. Defaults to standard error.

    Returns:
        The `Predictor` of the trained model.

    Raises:
        ValueError: if a model, task or option is unknown, or the task does not fit the kind of the model.
        DataError: if the data is missing or cannot be read.
        CheckpointError: if the folder belongs to another run, or the call changes what the run trains.
        SetupError: if the folder cannot be written, or a package is missing.
        PreemptedError: if SIGTERM stopped the process; the same call continues.
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
    if start is None:
        _checks.positive_int("TrainingOptions", "epochs", options.epochs)
    files = {"teacher": tuple(map(os.path.abspath, options.teacher))}
    files["teacher_data"] = directories.absolute_path(options.teacher_data)
    options = options.replace(**files)
    run = directories.RunDirectory(run_dir or os.path.join("runs", f"{model}-{name.replace(':', '-')}"))
    record = {
        "kerazoo": kerazoo.__version__,
        "model": model,
        "model_options": dict(model_options or {}),
        "task": name,
        "task_options": directories.absolute(task_options or {}),
        "training": options.to_dict(),
        "import": list(imports),
    }
    from kerazoo.training import processes

    with signals.stoppable() as pending:
        created = tasks.create(name, spec.kind, **record["task_options"])
        catalog.check_overrides(model, record["model_options"])
        with _locked(run), processes.loss_reported():
            call = _Training(run, record, created, options, tensorboard, override_resume, start, pending, print_fn)
            return call.execute(command, evaluate)


@contextlib.contextmanager
def _locked(run):
    """Holds the lock of a run directory, which is created first; of several processes the first one holds it."""
    from kerazoo.training import processes

    with contextlib.ExitStack() as stack:

        def lock():
            run.create()
            stack.enter_context(run.lock())
            run.remove_leftovers()

        processes.on_first(lock)
        yield
        processes.wait()


class _Training:
    """One call of `train`, and the state that its steps share."""

    def __init__(self, run, record, task, options, tensorboard, override, start, pending, print_fn):
        from kerazoo.training import processes

        self.run = run
        self.record = record
        self.task = task
        self.options = options
        self.tensorboard = tensorboard
        self.override = override
        self.start = start
        self.pending = pending
        self.print = print_fn if processes.is_first() else lambda line: None
        self.started = time.perf_counter()
        self.useful = 0.0  # seconds in steps that were not taken back
        self.anew = False  # whether an interrupted epoch begins anew, for its order is another now

    def execute(self, command, evaluate):
        """Prepares, fits and evaluates the model."""
        import keras

        from kerazoo.run import evaluation, predictor, receipt
        from kerazoo.training import checkpoints, processes, weight_averages

        policy = keras.config.dtype_policy()
        try:
            self._find_run(checkpoints.CheckpointStore(self.run.checkpoints))
            model = self._prepare(keras)
            processes.wait()  # until all have read the record of the run
            processes.on_first(lambda: self._save_record(command))  # an error before this line leaves no record
            store = checkpoints.CheckpointStore(
                self.run.checkpoints,
                vocabularies=self.task.vocabularies,
                keep_epochs=self.options.average_checkpoints,
            )
            self._fit(model, store)
            model = model if self.placement.name == "single" else self._copy()
        finally:
            keras.config.set_dtype_policy(policy)
        store.restore(model, which="best")
        if getattr(model, "optimizer", None) is not None:  # a copy for predictions has none
            weight_averages.finalize(model)  # those of `ema_momentum`
        first = processes.is_first()
        if self.options.lora:
            trained_layers.merge_lora(model, self.run.adapter, self.print)
        trained = predictor.Predictor(model, self.task)
        if self.dev is not None and (evaluate or self.task.is_autoencoder):
            baseline, names = baselines.load(self.run), self.options.metrics
            found = evaluation.evaluated(trained, "dev", metrics=names, baseline=baseline)
            if first and trained.dev_errors:
                anomalies.save(self.run, trained.dev_errors)
            if first and evaluate:
                evaluation.publish(self.run, found, "dev")
        if first:
            receipt.write(self.run, self.record, self.task, store)
            print("\n" + report.next_commands(self.run, self.task), flush=True)
        return trained

    def _find_run(self, store):
        """Finds out what the run was trained with, and refuses a call that does not continue it."""
        self.state, calls = store.state(), []
        self.saved = self._run_of_state()
        if self.run.exists():
            try:
                found = self.run.record()
                self.saved, calls = self.saved or found, found.get("calls", [])
            except _checks.CheckpointError as error:
                if not self.saved:
                    raise
                self.print(f"{error} It is written anew now.")
        self.record["calls"] = calls
        self._record_start()
        if not self.saved:
            return
        self.record |= {name: self.saved[name] for name in ("low_rank", "made_of") if name in self.saved}
        where = f"run_dir={self.run.path}"
        resuming.check_trainable(where, self.saved)
        resuming.check_same_model(where, self.saved, self.record)
        changes = resuming.changed_options(self.saved, self.record) if self.state else {}
        fixed = not resuming.FIXED.isdisjoint(changes)
        if changes and (fixed or not self.override):
            raise resuming.refusal(where, resuming.in_words(changes), fixed)
        if changes:
            self.print(f"Continues with {resuming.in_words(changes)}.")
        self.anew = not set(changes).isdisjoint(resuming.ORDER)

    def _record_start(self):
        """Records what the run begins with; a run with a checkpoint needs that no more."""
        if self.start is None:
            return
        began = (self.saved or {}).get("start", {})
        if began.get("path") == str(self.start.path):
            if self.state:
                self.record["start"] = {**began, **self.start.options}
                return
            self.start.expected = began["sha256"]
        self.record["start"] = self.start.record()

    def _run_of_state(self):
        """Returns what the newest checkpoint was trained with, or None."""
        if not self.state or not self.state.get("run"):
            return None
        try:
            directories.check_record(self.state["run"])
        except (ValueError, TypeError, AttributeError) as error:
            checkpoint = self.run.checkpoints / self.state["checkpoint"]
            raise _checks.CheckpointError(f"{checkpoint}: belongs to no run: {error}.") from error
        return self.state["run"]

    def _prepare(self, keras):
        from kerazoo import compress, models, training
        from kerazoo.run import compiling, model_building, pretrained_embeddings, teachers
        from kerazoo.training import distribution, processes

        started = time.perf_counter()
        if self.start is not None and not self.state:
            self.start.open()  # before the seed, so that new weights do not depend on it
        self.teachers = teachers.Teachers(self.options, self.record["import"]) if self.options.teacher else None
        keras.config.set_dtype_policy(self.options.dtype)
        keras.utils.set_random_seed(self.options.seed)
        if self.options.deterministic:
            training.make_deterministic()
        processes.first_then_others(self._load_data)
        self.placement = distribution.choose(
            self.options.placement,
            self.options.mesh,
            self.task.loss(),
            self.options.dtype,
            self.options.gradient_accumulation_steps,
        )
        self._check_placement()
        with self.placement.scope():
            model = model_building.model_of(self.record, self.task, lora=False)
            if self.options.packing:
                models.check_packing(model)
            if self.options.remat:
                trained_layers.rematerialize(model, self.record["model"])
            origins, notes = {}, []
            if not self.state:
                pretrained_embeddings.load_vectors(model, self.task, self.options.seed)
                if self.start is not None:
                    origins, notes = self.start.load(model, self.task)
            if self.options.rounding:
                compress.round_weights(model, self.options.rounding)
            self.unfreeze = trained_layers.freeze(model, self.options)
            if not self.state and (self.start is not None or self.options.freezes):
                began = [] if self.start is None else [f"Starts from {self.start.path}."]
                notes = [*began, *trained_layers.describe(model, origins, self.unfreeze, self.options.lora), *notes]
                notes += self.start.unknown_tokens(self.task, self.corpus) if self.start is not None else []
            if self.options.lora:
                notes.append(self._add_lora(model, origins))
            self._find("batch_tokens", "auto", lambda: self._try_batches(model))
            self._plan_batches()
            self._find("learning_rate", "find", lambda: self._sweep_rates(model))
            schedule = resuming.schedule(self.saved, self.state, self.options, self.plan.steps, self.anew)
            self.record["schedule"] = schedule
            rates = compiling.schedule(self.options, schedule["start"], schedule["end"])
            compiling.compile_model(model, self.task, self.options, rates)
            if self.unfreeze is not None:
                self.unfreeze.build_optimizer(model)
            if self.teachers:
                self.teachers.distil(model)
            self.change_batch = self._change_batch(model)
            self.pruning = self._pruning(schedule["start"], schedule["end"])
            if self.pruning:
                self.pruning.attach(model)
        seconds = time.perf_counter() - started
        self.print(report.headline(self.record, model, self.corpus, self.dev, self.plan, seconds))
        for line in notes:
            self.print(line)
        if self.placement.name != "single":
            self.print(f"Trains {self.placement}.")
        if not self.task.streamed and (summary := self.task.summary(self.corpus)):
            self.print(summary)
        return model

    def _pruning(self, start, end):
        """Returns the callback that prunes in the first half of the training, `None` without one."""
        from kerazoo import compress

        if self.options.prune == "":
            return None
        half = (end - start) // 2
        steps = max(1, half // PRUNINGS)
        return compress.Pruning(self.options.prune, start, start + half // steps * steps, steps)

    def _check_placement(self):
        """Refuses what has been written for one device alone."""
        options = self.options
        for name, given in (("learning_rate", options.learning_rate == "find"),
                            ("batch_tokens", options.batch_tokens == "auto"),
                            ("consistency", options.consistency > 0),
                            ("scheduled_sampling", options.scheduled_sampling > 0),
                            ("prune", options.prune != ""), ("teacher", bool(options.teacher))):  # fmt: skip
            if given and self.placement.name != "single":
                raise ValueError(
                    f"TrainingOptions: {name}={getattr(options, name)!r} needs one device; got a training "
                    f"{self.placement}. Set placement='single', or another value."
                )

    def _add_lora(self, model, origins):
        """Adds LoRA; the run records which weights are new and trained whole."""
        begin = self.record.get("start")
        if begin is None:
            raise ValueError(
                f"TrainingOptions: `lora` adapts weights that a run starts from; got lora={self.options.lora} without "
                "any. Use kerazoo.run.finetune."
            )
        if not self.state:
            begin["new"] = [path for path, origin in origins.items() if origin != "kept"]
        return trained_layers.add_lora(model, self.options, begin.get("new", ()))

    def _find(self, name, word, search):
        """Replaces the word of an option that is to be found by what the run found before, or finds it now."""
        if getattr(self.options, name) != word:
            return
        found = (self.saved or {}).get("found", {}).get(name) or search()
        self.record.setdefault("found", {})[name] = found
        self.options = self.options.replace(**{name: found})

    def _try_batches(self, model):
        """Returns the number of tokens of a batch that is fastest here."""
        from kerazoo.run import batch_trials, compiling

        if self.task.streamed:
            raise ValueError("TrainingOptions: a stream has no trials; got feed='stream' with batch_tokens='auto'.")
        corpus = self.corpus if batching.choose_feed(self.corpus) == "device" else self.corpus.sample(TRIED)
        options = self.options.replace(learning_rate=1e-3)  # the rate is found afterwards
        rows = batch_trials.trials(
            model,
            lambda: compiling.compile_model(model, self.task, options, compiling.schedule(options, 0, 1)),
            lambda tokens: batching.plans(options.replace(batch_tokens=tokens), corpus, None)[0],
            data=corpus,
            batch_fn=self.task.batch,
            jit_compile=self.options.xla,
        )
        found = batch_trials.choose(rows)
        speeds = ", ".join(f"{tokens:,}: {speed:,.0f}" for tokens, speed in rows)
        self.print(f"batch_tokens=auto: {found:,} is taken. Tokens of a batch and tokens per second: {speeds}.")
        return found

    def _sweep_rates(self, model):
        """Returns the learning rate of a short sweep, whose table is written into the run."""
        from kerazoo.run import compiling, rate_sweep

        batches = rate_sweep.UPDATES * self.options.gradient_accumulation_steps
        data, steps = self._data(), self.plan.steps
        if "plan" in data:
            data["plan"] = rate_sweep.commonest_shape(self.plan)
            steps = data["plan"].steps
        rows = rate_sweep.sweep(
            model,
            lambda rates: compiling.compile_model(model, self.task, self.options, rates),
            batches,
            steps,
            **data,
            class_weight=self.class_weight,
            jit_compile=self.options.xla,
        )
        found = rate_sweep.choose(rows)
        rate_sweep.write(self.run, rows, found)
        self.print(
            f"learning_rate=find: {found:g} is taken, a tenth of the rate with the smallest loss in {len(rows)} steps "
            f"from {rows[0][0]:g} to {rows[-1][0]:.3g}. {self.run.path / 'learning-rate.csv'} has them."
        )
        return found

    def _load_data(self):
        """Reads the data with what the run was fitted to."""
        from kerazoo.run import monitoring

        options, streamed = self.options, self.options.feed == "stream"
        restored = self._restore_task() if self.saved else True
        if streamed and self.task.options.get("subword_dropout"):
            raise ValueError(
                "TrainingOptions: a stream cannot resample subwords; got feed='stream' with "
                f"subword_dropout={self.task.options['subword_dropout']}. Set one of them only."
            )
        self.task = dataclasses.replace(self.task, streamed=streamed)
        if self.start is not None and not (self.saved and restored):
            self.start.prepare(self.task)
        self.corpus: Any = self.task.load("train")  # a `Corpus`, or a `Stream` if streamed
        self.dev: Any = self._load_dev()
        self._check_data(restored)
        if self.teachers:
            self.corpus = self.teachers.corpus(self.corpus, self.task, self.run)
        self.monitor = monitoring.choose(self.task, options)
        # Where each epoch has a different corpus, the plan bounds the lengths of all of them.
        self.resampled = None if streamed else self.task.resampled(options.seed)
        if not streamed:
            self.corpus = self._limited(self.corpus)

    def _plan_batches(self):
        """Plans the batches of training and dev, and what changes them."""
        options, streamed = self.options, self.task.streamed
        planned = self._limited(self.resampled.bounds) if self.resampled else self.corpus
        self.plan, self.dev_plan = batching.plans(options, planned, self.dev)
        self.augment = batching.augment(options, self.plan.head if streamed else self.corpus)
        self.class_weight = batching.class_weight(options, self.task, self.corpus)

    def _restore_task(self):
        """Takes over what the run was fitted to, so that data that changed cannot renumber its tokens."""
        from kerazoo import tasks

        try:
            self.task = tasks.restore(self.run.task, **self.task.options)
        except _checks.DataError as error:
            self.print(f"{error} It is fitted anew to the data, which must be that of the run.")
            return False
        return True

    def _check_data(self, restored):
        """Compares the data with that of the run by the fingerprints of its corpora."""
        from kerazoo.training import processes

        corpora = {"train": self.corpus, "dev": self.dev}
        self.record["data"] = {
            split: {"examples": len(corpus), "sha256": corpus.fingerprint}
            if hasattr(corpus, "features")
            else {"examples": "streamed", "data_dir": self.record["task_options"].get("data_dir")}
            for split, corpus in corpora.items()
        }
        changes = resuming.changed_data(self.saved, self.record["data"]) if self.saved else []
        text = f"other data than the run had: {', '.join(changes)}"
        if changes and not restored:
            raise _checks.CheckpointError(f"{self.run.task}: is damaged, and the data is not that of the run: {text}.")
        if changes and not self.override:
            raise resuming.refusal(f"run_dir={self.run.path}", text)
        if changes:
            self.print(f"Continues with {text}.")
            self.anew = True
        if not restored and processes.is_first():
            self.task.save(self.run.task)

    def _copy(self):
        """Returns a new model on one device, which predicts in place of one on several."""
        from kerazoo.run import model_building
        from kerazoo.training import distribution

        with distribution.one_device():
            return model_building.model_of(self.record, self.task)

    def _save_record(self, command):
        """Writes the options of this call into the run directory; for a new run `run.json` makes it one."""
        if not self.saved:
            self.task.save(self.run.task)
        self.record["calls"].append(
            {
                "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
                "kerazoo": kerazoo.__version__,
                "command": list(command),
                "training": self.record["training"],
                "ended": "not yet, or the process was killed",
            }
        )
        if command or not self.saved:
            _files.write_file(self.run.flags, report.flag_file(self.record, command))
        self.run.save_record(self.record)
        if not self.run.baseline.exists():
            found = baselines.fit(self.task, self.corpus, self.dev is not None, self.options.metrics)
            baselines.save(self.run, found)

    def _end(self, why):
        """Adds to the record why training ended, and how much of the time was spent in steps."""
        from kerazoo.training import processes

        if processes.is_first():
            seconds = {"seconds": round(time.perf_counter() - self.started, 3), "step_seconds": round(self.useful, 3)}
            self.record["calls"][-1].update(ended=why, **seconds)
            self.run.save_record(self.record)

    def _fit(self, model, store):
        """Trains, and tells in a line and in the record why training ended."""
        saver, state = self._checkpoints(store), None
        if not store.names() and self.start is not None:
            state = self._save_first(model, store)
            if not self.options.epochs:
                return self._finish("Nothing is trained with epochs=0: the run has the weights that it began with.")
        elif store.names():
            state = store.restore(model)
            if state["epoch"] >= self.options.epochs:
                done = f"Trained already: all of epochs={self.options.epochs}. A larger number goes on, such as "
                return self._finish(f"{done}epochs={2 * self.options.epochs}.")
            if saver.stops_early(state["history"]):
                more = f" A larger number goes on, such as patience={2 * self.options.patience}."
                return self._finish(self._stopped_early(state["history"]) + more)
            if self.anew and state["position"]:
                self.print(f"The order of the examples changed, so epoch {state['epoch'] + 1} begins anew.")
                state["position"] = 0
            self.print(self._resumes(state))
        largest = max(self.plan.shapes, key=lambda shape: shape.rows * shape.cells)
        lengths = ", ".join(f"{length:,} tokens of {name}" for name, length in largest.lengths.items())
        tried = f"train with batches of {largest.rows:,} examples{lengths and f' with {lengths}'}"
        try:
            with memory.reported(tried, "Set a smaller `batch_size` or `batch_tokens`, or smaller sizes of the model."):
                self._run_loop(model, store, saver, self._first_checkpoint(model, store, state))
        except BaseException as error:
            with contextlib.suppress(_checks.SetupError):  # a full disk, for one, is what `error` is about
                self._end(str(error) if hasattr(error, "exit_code") else f"{type(error).__name__}: {error}")
            raise
        early = saver.stops_early(saver.history)
        self._finish(self._stopped_early(saver.history) if early else f"All epochs={self.options.epochs} are trained.")
        if goodput := report.goodput(self.record):
            self.print(goodput)

    def _finish(self, why):
        self._end(why)
        self.print(why)

    def _stopped_early(self, history):
        metric, mode, _ = self.monitor
        best = (min if mode == "min" else max)((each for each in history if metric in each), key=lambda e: e[metric])
        return (
            f"Stopped early after epoch {history[-1]['epoch']} of {self.options.epochs}: {metric} was best in epoch "
            f"{best['epoch']} ({best[metric]:.4g}), and patience={self.options.patience} is used up."
        )

    def _resumes(self, state):
        """Returns a line about where training goes on, and what more epochs mean for the learning rate."""
        from kerazoo.run import compiling

        text = f"Resumes in epoch {state['epoch'] + 1}, after step {state['step']:,}."
        epochs, old = self.options.epochs, (self.saved or {}).get("training", {}).get("epochs")
        if old in (None, epochs) or not state["step"] or self.options.schedule in ("constant", "inverse_sqrt"):
            return text
        start, end = (self.record["schedule"][name] for name in ("start", "end"))
        rate = float(compiling.schedule(self.options, start, end)(state["step"]))
        if self.options.restart_schedule:
            return f"{text} The schedule of the learning rate starts anew there, for the epochs up to {epochs}."
        return (
            f"{text} The run had epochs={old}: the learning rate goes on at {rate:.3g}, as if epochs={epochs} had been "
            "given at first. A new schedule from here on: restart_schedule=True."
        )

    def _first_checkpoint(self, model, store, state):
        """Returns the state that training begins with; with `on_nan="rewind"` it is saved, to go back to."""
        return state if state or self.options.on_nan != "rewind" else self._save_first(model, store)

    def _save_first(self, model, store):
        """Saves the state before the first step, and returns it."""
        from kerazoo.training import distribution, weight_averages

        if not model.optimizer.built:
            with distribution.scope_of(model):
                model.optimizer.build(model.trainable_variables)
        for variable, average in weight_averages.moving_averages(model.optimizer):
            average.assign(variable.value)  # which are the weights of the checkpoint
        state = {"step": 0, "epoch": 0, "position": 0, "history": [], "run": self._record_of_states()}
        store.save(model, state)
        return state

    def _run_loop(self, model, store, saver, state):
        """Trains, and goes back to the last checkpoint where training diverges and `on_nan` says so."""
        from kerazoo.training import processes

        while True:
            try:
                self._run_fit(model, store, saver, state)
                self.useful += saver.params["step_seconds"]
                return
            except _checks.DivergedError as error:
                skip = [*(state or {}).get("skip", []), _diverged(saver.params)]
                if self.options.on_nan != "rewind":
                    raise
                if len(skip) > MAX_REWINDS:
                    raise _checks.DivergedError(
                        f"{error} It was rewound {MAX_REWINDS} times, the limit of on_nan='rewind'."
                    ) from error
                processes.wait()  # until the first of several has written it
                began, reached = (state or {}).get("step", 0), saver.params["step"]
                state = {**store.restore(model), "skip": skip}
                kept = (state["step"] - began) / max(1, reached - began)
                self.useful += max(0.0, kept) * saver.params["step_seconds"]
                epoch, first, end = skip[-1]
                what = str(error).partition(": training has diverged")[0]
                self.print(
                    f"{what}. Goes back to the checkpoint of step {state['step']:,} and leaves out the batches "
                    f"{first + 1:,} to {end:,} of epoch {epoch + 1} (time {len(skip)} of {MAX_REWINDS})."
                )

    def _run_fit(self, model, store, saver, state):
        from kerazoo import training

        options = self.options
        with self.placement.fit_scope():
            training.fit(
                model,
                **self._data(),
                epochs=options.epochs,
                callbacks=self._callbacks(store, saver),
                validation_data=None if self.dev is None else (self.dev, self.dev_plan, self.task.batch),
                class_weight=self.class_weight,
                change_batch=self.change_batch,
                resume=state,
                steps_per_execution=options.steps_per_execution or None,
                jit_compile=options.xla,
            )

    def _data(self) -> dict[str, Any]:
        """Returns the arguments of `fit` that give the training data."""
        if self._feed() == "device":
            plan = {"plan": self.plan, "augment": self.augment}
            return {"data": self.corpus, "batch_fn": self.task.batch, **plan}
        return {"data": self._stream}  # complete batches

    def _change_batch(self, model):
        """Returns what changes each batch within the program of a step, `None` for nothing."""
        from kerazoo import training

        options, changes = self.options, []
        if options.scheduled_sampling:
            end = self.record["schedule"]["end"]
            changes.append(training.ScheduledSampling(model, options.scheduled_sampling, end, options.seed))
        if options.consistency:
            changes.append(training.Consistency(model, options.consistency))
        if not changes:
            return None
        return lambda batch, number: functools.reduce(lambda last, change: change(last, number), changes, batch)

    def _load_dev(self):
        """Returns the dev examples, or `None` if there are none."""
        try:
            return self.task.load("dev")
        except _checks.NoExamplesError as error:
            self.print(f"{error} Nothing is measured while the model trains, and its last state is kept as the best.")
            return None

    def _limited(self, corpus):
        return corpus.sample(self.options.limit) if self.options.limit else corpus

    def _feed(self):
        from kerazoo.training import processes

        if self.resampled:
            if self.options.feed == "device":
                raise ValueError(
                    "TrainingOptions: feed='device' holds one corpus for all epochs, and this task makes another one "
                    "in each (subword_dropout, or texts that are corrupted); got feed='device'. Try feed='auto'."
                )
            return "tf.data"
        if self.options.feed != "auto":
            return self.options.feed
        if processes.count() > 1:
            return "device"
        return batching.choose_feed(self.corpus)

    def _stream(self, epoch):
        corpus = self._limited(self.resampled.epoch(epoch)) if self.resampled else self.corpus
        return batching.stream(corpus, self.plan, self.task.batch, epoch, self.augment)

    def _checkpoints(self, store):
        from kerazoo import training

        metric, mode, _ = self.monitor
        record = self._record_of_states()
        period = self.options.checkpoint_period()
        options = {**period, "patience": self.options.patience, "best_from": self.pruning.end if self.pruning else 0}
        return training.Checkpoints(store, metric, mode, **options, record=record)

    def _record_of_states(self):
        """Returns what each checkpoint tells about the run."""
        return {name: value for name, value in self.record.items() if name != "calls"}

    def _callbacks(self, store, saver):
        import keras

        from kerazoo import training
        from kerazoo.run import monitoring

        predicted, limit = self.monitor.measures if self.dev is not None else (), self.options.monitor_limit
        first = training.processes.is_first()  # which writes
        copy = None if self.placement.name == "single" else self._copy
        chosen = [
            *([self.unfreeze] if self.unfreeze else []),
            *([self.pruning] if self.pruning else []),
            *([monitoring.PredictDev(self.task, predicted, limit, copy)] if predicted else []),
            *([training.EvaluateAverages()] if self.options.ema_momentum else []),
            training.StopOnNonFinite(store),
            *([training.Progress(), training.MetricsLog(self.run.metrics)] if first else []),
            saver,
            keras.callbacks.LambdaCallback(
                on_train_begin=lambda logs: self.pending.begin_training(),  # saver obeys it
                on_train_end=lambda logs: self.pending.end_training(),
            ),
        ]
        if first and (steps := self.options.profiled_steps()):
            chosen.append(training.Profile(self.run.profile, *steps))
        if first and self.tensorboard and importlib.util.find_spec("tensorboard"):
            chosen.append(keras.callbacks.TensorBoard(str(self.run.events), write_graph=False, profile_batch=0))
        return chosen


def _diverged(progress):
    """Returns epoch, first index and end of the batches of the block that diverged, from the step before it on."""
    epoch, first, end = progress["block"]
    failure = progress.get("failure")
    return [epoch, max(0, (failure["position"] if failure else first) - 1), end]
