"""A trained run as a callable from raw input to answer."""

import os

import numpy as np

from kerazoo import _checks, catalog
from kerazoo.run import directory as directories


class Answerer:
    """Maps a list of raw inputs to a list of answers: text to text, pixels to labels, whatever the task speaks.

    Args:
        model: A built model of the catalog's kind `kind`.
        task: The task that it was trained on, which encodes inputs and shows predictions.
        batch_size: Most inputs that go through the model at once.

    Call arguments:
        raw: A list of what the task takes: strings, images as arrays `[H, W, C]`, vectors.
        search: A name or object of `kerazoo.decoding`, `"greedy"` by default; only for models that generate.
        max_length: Most tokens of an answer; the task's own bound by default.
        **options: Further arguments of the search, such as `width=4`.

    Returns:
        One answer for each input, in the same order: a string, or an array where the task answers with numbers.
    """

    def __init__(self, model, task, batch_size=256):
        self.model = model
        self.task = task
        self.batch_size = batch_size

    def __call__(self, raw, **options):
        return self.task.show(self.predict(raw, **options))

    def predict(self, raw, **options):
        """Returns the model's own output for `raw`: token ids, or logits with one row an input."""
        raw = list(raw)
        order = self._order(raw)
        rows = [None] * len(raw)
        for start in range(0, len(order), self.batch_size):
            chosen = order[start : start + self.batch_size]
            for index, row in zip(chosen, self._predict_batch([raw[i] for i in chosen], options), strict=True):
                rows[index] = row
        return rows

    def _order(self, raw):
        # Inputs of like length share a batch, so little of it is padding.
        sized = [len(item) if isinstance(item, str) else 0 for item in raw]
        return sorted(range(len(raw)), key=sized.__getitem__)

    def _predict_batch(self, raw, options):
        inputs = self.task.encode(raw)
        if not hasattr(self.model, "generate"):
            if options:
                raise ValueError(
                    f"{type(self.model).__name__}: does not generate, so it takes no {', '.join(sorted(options))}."
                )
            return list(np.asarray(self.model.predict_on_batch(inputs)))
        generated = self.model.generate(**inputs, **{"max_length": self.task.max_length, **options})
        return list(generated.best())


def load(run_dir, checkpoint="best", data_dir=None):
    """Returns the `Answerer` of a finished or running training.

    Args:
        run_dir: The run's folder.
        checkpoint: `"best"` for the state with the best dev result, `"last"` for the newest.
        data_dir: Where the data lies now, if it moved; answering needs no data.

    Raises:
        CheckpointError: There is no run, or its state is damaged or does not fit the model.
    """
    run = directories.RunDirectory(os.fspath(run_dir))
    record = run.record()
    model, task = rebuild(run, record, data_dir)
    from kerazoo.training import checkpoints

    _checks.one_of("kerazoo.load", "checkpoint", checkpoint, ("best", "last"))
    checkpoints.CheckpointStore(run.checkpoints, vocabularies=task.vocabularies).restore(model, which=checkpoint)
    return Answerer(model, task)


def rebuild(run, record, data_dir=None):
    """Returns the model and the task of `record`, untrained, without touching the data."""
    from kerazoo import tasks

    catalog.import_modules(record.get("import", ()))
    task = tasks.restore(run.task, data_dir=data_dir)
    return build(record["model"], task, record["model_options"]), task


def build(name, task, overrides):
    """Returns the built model `name` with the sizes that `task` dictates and the user's `overrides`."""
    sizes = {key: value for key, value in task.sizes().items() if key in catalog.arguments(name)}
    model = catalog.create(name, **{**sizes, **overrides})
    if not model.built:
        model.build_from_inputs()
    return model
