"""The teachers of a run: trained runs whose predictions it learns from, as distributions or as training data."""

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from kerazoo import _checks, _files
from kerazoo.data import Corpus, Ragged, lines
from kerazoo.run import directory as directories
from kerazoo.run import load_run

if TYPE_CHECKING:
    import keras

    from kerazoo.run.options import TrainingOptions
    from kerazoo.tasks import Task

PREDICTIONS = "teacher-predictions.npz"
NUM_BEAMS = 5
BATCH_SIZE = 256


class Teachers:
    """Trained runs that a new one learns from.

    Args:
        options: `TrainingOptions`, of which `teacher` and the fields with `distillation` count.
        imports: list of strings. Modules that `kerazoo.load` imports first. Defaults to `()`.

    Raises:
        CheckpointError: if one is no run.
    """

    def __init__(self, options: "TrainingOptions", imports: Sequence[str] = ()):
        self.options = options
        self.predictors = [load_run.load(path, imports=imports) for path in options.teacher]

    def distil(self, model: "keras.Model") -> None:
        """Adds the distance to the teachers to the loss of a compiled model, see `kerazoo.compress.distil`."""
        from kerazoo import compress

        target = self.predictors[0].task.targets
        compress.distil(
            model,
            [each.model for each in self.predictors],
            weight=self.options.distillation_weight,
            temperature=self.options.distillation_temperature,
            hidden_weight=self.options.distillation_hidden,
            outputs="classes" if target.generated or target.modality == "label" else "values",
        )

    def corpus(self, corpus: Corpus, task: "Task", run: directories.RunDirectory) -> Corpus:
        """Returns the training examples with the predictions of the teachers as targets.

        With `"sequences"` these replace the targets of the data. The inputs of `teacher_data` come after the examples
        of the data. What was predicted is kept in the run.

        Args:
            corpus: `Corpus`. The examples of the data.
            task: `kerazoo.tasks.Task` of the new run.
            run: `RunDirectory`.

        Raises:
            CheckpointError: if a teacher was fitted to other data.
        """
        self._check(task)
        inputs: dict[str, Any] = {name: corpus.features[name] for name in task.input_names}
        more = self._unlabelled(task)
        replaced = self.options.distillation == "sequences"
        if not replaced and more is None:
            return corpus
        parts = [inputs] if replaced else []
        parts += [] if more is None else [{"source": more}]
        targets = self._predicted([Corpus(each) for each in parts], run)
        targets = targets if replaced else [corpus.features["targets"], *targets]
        inputs = {name: _joined([each, *([] if more is None else [more])]) for name, each in inputs.items()}
        return Corpus({**inputs, "targets": _joined(targets)}, corpus.notes)

    def _check(self, task):
        for path, each in zip(self.options.teacher, self.predictors):
            if each.task.hash != task.hash:
                raise _checks.CheckpointError(
                    f"teacher={path!r}: must have the vocabularies and classes of the new run, for the same data with "
                    f"the same options; its {each.task.owner} has others."
                )
        if self.options.distillation == "sequences" and (task.is_language_model or not task.targets.generated):
            raise ValueError(
                f"{task.owner}: distillation='sequences' needs a model that generates a target for an input; got one "
                f"of kind {task.kind}. Try distillation='logits'."
            )

    def _unlabelled(self, task):
        """Returns the tokens of the lines of `teacher_data`, `None` without."""
        path = self.options.teacher_data
        if not path:
            return None
        feature: Any = task.inputs[0] if len(task.inputs) == 1 else None
        if feature is None or feature.modality != "text" or not task.targets.generated:
            raise ValueError(
                f"{task.owner}: `teacher_data` are lines of text, so it needs one text as input and a text as "
                f"target; got teacher_data={path!r}."
            )
        texts = [text for _, text in lines.read_lines(path) if text.strip()]
        if not texts:
            raise _checks.NoExamplesError(f"{path}: has no line with a text.")
        return feature.tokens([texts]).clip(feature.max_length)

    def _predicted(self, corpora, run):
        """Returns the tokens that the teachers predict for each corpus of inputs, from the file of the run if there."""
        key = " ".join([*map(str, self.options.teacher), *(each.fingerprint for each in corpora)])
        path = run.path / PREDICTIONS
        if path.exists():
            with np.load(path, allow_pickle=False) as found:
                if str(found["key"]) == key:
                    return [Ragged(found[f"values_{n}"], found[f"offsets_{n}"]) for n in range(len(corpora))]
        teacher = load_run.ensemble(self.predictors).model
        targets = [self._generated(teacher, each) for each in corpora]
        arrays: dict[str, Any] = {f"values_{n}": each.values for n, each in enumerate(targets)}
        arrays |= {f"offsets_{n}": each.offsets for n, each in enumerate(targets)}
        content = io.BytesIO()
        np.savez(content, key=np.array(key), **arrays)
        _files.write_file(path, content.getvalue())
        return targets

    def _generated(self, teacher, corpus):
        """Returns the best answer of a beam search for each example, with the token that ends it."""
        rows: list[Any] = [None] * len(corpus)
        lengths = next(iter(corpus.lengths().values()), np.zeros(len(corpus)))
        order = np.argsort(lengths, kind="stable")  # of similar length, so little is padding
        for start in range(0, len(order), BATCH_SIZE):
            chosen = order[start : start + BATCH_SIZE]
            inputs, _ = corpus.batch(chosen)
            source = {name: inputs[name] for name in inputs}
            found = teacher.generate(
                source if len(source) > 1 else source["source"],
                search="beam",
                num_beams=NUM_BEAMS,
                max_length=self.predictors[0].task.max_length,
            )
            for row, tokens, length in zip(chosen, found.tokens[:, 0], found.lengths[:, 0]):
                rows[row] = tokens[:length]
        return Ragged.from_rows(rows)


def _joined(parts):
    """Returns the rows of several features of one kind, one after the other."""
    if len(parts) == 1:
        return parts[0]
    if not isinstance(parts[0], Ragged):
        return np.concatenate(parts)
    values = np.concatenate([each.values for each in parts])
    return Ragged.from_lengths(values, np.concatenate([each.lengths for each in parts]))
