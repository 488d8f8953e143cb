"""The base of the features: one modality on one side of a task."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import keras

    from kerazoo.data import DataSource, Ragged
    from kerazoo.tasks.measures import Measure


class Converted(NamedTuple):
    """The values of one feature for the examples of a chunk.

    Args:
        values: `kerazoo.data.Ragged` or array `[N, ...]`. What the corpus stores.
        clipped: bool array `[N]`, True where an example was truncated. Defaults to `None`: nothing can be truncated.
        faults: dict of row to message, which is an `Unseen` for a class that the training data lacks. The examples that
            cannot be read; their values are arbitrary.
    """

    values: Any
    clipped: np.ndarray | None = None
    faults: Mapping[int, str] = {}


class MaskedSequence(NamedTuple):
    """Vectors of sequences of unequal length, which no value marks as padding.

    Args:
        values: float tensor `[B, S, D]`.
        mask: bool tensor `[B, S]`, True = valid position.
    """

    values: Any
    mask: Any


class Unseen(str):
    """The message of an example whose class is not in the training data.

    A training example of it is refused even where bad lines are skipped. One of dev or test is left out of the corpus
    and counted, since it has no logit and so no loss; an evaluation counts it as wrong.
    """


class Feature:
    """One modality on one side of a task: how raw values become arrays, model inputs, targets and predictions.

    A feature is fitted once to the training part of the data (`update` for each chunk, then `finish`); what was
    fitted is the plain data in `state`. A subclass defines the class attributes and the methods that its modality
    needs, on the side of the inputs, of the targets, or on both.

    Args:
        *columns: strings. The names of the raw columns that it reads.
    """

    modality = ""
    # The kinds of model whose output is a prediction of this feature.
    kinds: tuple[str, ...] = ()
    # Whether a prediction is generated token by token by a search.
    generated = False
    # Whether evaluation measures the loss of the targets under teacher forcing, not predictions against references.
    evaluated_by_loss = False
    # Whether a prediction is a sequence of vectors of numbers, which a decoder of values reads in training.
    continuous = False
    # Whether the inputs of training are made of the targets by `corrupt`, anew in each epoch.
    corrupts = False
    # Whether a prediction is made of the input and the outputs of the model together, by `complete`.
    fills = False
    # Whether raw values can be restored from what the corpus stores.
    stored_exactly = False
    # Whether `decode_files` makes packed raw values of the bytes of files.
    reads_files = False
    # The name and the direction of the validation metric that selects the best model.
    monitor = ("val_loss", "min")
    # The names of the measures of predictions (`kerazoo.tasks.MEASURES`) that are computed where none are chosen.
    measures: tuple[str, ...] = ()
    # The raw column whose value in an example tells how it is scaled for measures, empty for none.
    scaled_by_column = ""
    # Whether a prediction of a language model begins with its prompt.
    repeats_prompt = True
    # The names of the outputs of an exported model, the prediction first.
    outputs: tuple[str, ...] = ()

    def __init__(self, *columns: str):
        self.columns = tuple(map(str, columns))
        self.state: Any = None  # a dict of plain values once the feature is fitted
        self.owner = f"{self.modality} feature"
        self.is_target = False  # whether it is the target of its task

    def bind(self, owner: str) -> None:
        """Sets the owner that error messages name, such as `"task cmudict"`."""
        self.owner = owner

    @property
    def config(self) -> dict:
        """Plain values that the stored arrays depend on; a part of the key of prepared data."""
        return {"modality": self.modality, "columns": list(self.columns)}

    # What is fitted to the training data.

    @property
    def needs_fit(self) -> bool:
        """Whether a pass over the training data is required before anything can be converted."""
        return True

    def declare(self, source: "DataSource") -> None:
        """Takes over what the `DataSource` describes without reading its examples, such as the names of the classes."""

    def update(self, columns: Mapping[str, Sequence]) -> bool:
        """Fits the feature to one more chunk of the training data, and returns whether further ones are needed."""
        return False

    def finish(self) -> bool:
        """Ends a pass over the training data, and returns whether another pass is required."""
        self.state = self.state or {}
        return False

    def restore(self, state: Mapping) -> None:
        """Takes over the `state` of a saved task.

        Raises:
            ValueError: if the feature was fitted with other options.
        """
        self.state = dict(state)

    # From raw values to the corpus.

    def convert(self, columns: Mapping[str, Sequence], continues: bool = False) -> Converted:
        """Returns the values that the corpus stores for the raw columns of a chunk."""
        raise NotImplementedError

    def raw(self, values: Any) -> list:
        """Returns the raw values for stored values, where `stored_exactly`."""
        raise NotImplementedError

    def load(self, values: Sequence) -> tuple[list, dict[int, str]]:
        """Returns raw values of a column with files replaced by their contents, and faults by row."""
        return list(values), {}

    # On the side of the inputs.

    def inputs(self, values: Any) -> Any:
        """Returns the model's input tensor for a batch of stored values."""
        raise NotImplementedError

    def pack(self, values: Sequence) -> Any:
        """Returns the raw values of a column as one array, or a list of strings, after checking each of them."""
        raise NotImplementedError

    def pack_column(self, column: str, values: Sequence) -> Any:
        """Returns what `pack` does for the raw values of one column, by its name."""
        del column
        return self.pack(values)

    def encode(self, *packed: Any) -> Any:
        """Returns the model's input for packed raw values, one of each column, inside a graph or outside.

        Returns:
            A tensor, or a `MaskedSequence`.
        """
        raise NotImplementedError

    def read(self, text: str) -> Any:
        """Returns the raw value of `text` on the command line, such as the content of a file."""
        return text

    def decode_files(self, files: Any) -> Any:
        """Returns the packed raw values for the bytes of files, a string tensor `[B]`, inside a graph."""
        raise NotImplementedError

    def encode_files(self, values: Sequence) -> list[bytes]:
        """Returns the bytes of a file for each raw value, of which `decode_files` makes the same value."""
        raise NotImplementedError

    def signature(self) -> list[tuple[list, str]]:
        """Returns shape and dtype of the packed raw values of each column."""
        raise NotImplementedError

    def input_sizes(self) -> dict:
        """Returns the constructor arguments of a model that reads this feature."""
        raise NotImplementedError

    # On the side of the targets.

    def targets(self, values: Any) -> Any:
        """Returns the targets of the loss for a batch of stored values."""
        raise NotImplementedError

    def weights(self, targets: Any, valid: Any) -> Any:
        """Returns the weights of the targets: 1 for each valid example."""
        from keras import ops

        return ops.cast(valid, "float32")  # [B]

    def target_sizes(self) -> dict:
        """Returns the constructor arguments of a model that predicts this feature."""
        raise NotImplementedError

    def loss(self, label_smoothing: float = 0.0) -> "keras.losses.Loss":
        """Returns the `keras.losses.Loss` of the targets."""
        raise NotImplementedError

    def metrics(self) -> list:
        """Returns the metrics for `weighted_metrics`."""
        return []

    def summary(self, values: Any) -> str:
        """Returns what the stored values are, in a few words that show whether they were read as meant."""
        return ""

    def references(self, values: Sequence) -> list:
        """Returns raw target values as they are compared with predictions."""
        return list(values)

    def unseen(self, references: Sequence[Sequence]) -> dict[str, int]:
        """Returns how many references have each class that the training data lacks, so no prediction can be right."""
        return {}

    def decode(self, outputs: Any) -> list:
        """Returns the predictions for the outputs of the model, one for each row."""
        raise NotImplementedError

    def ranked(self, outputs: Any) -> list[list[tuple[Any, float]]]:
        """Returns all predictions for each row of outputs with their probabilities, the most probable first.

        Raises:
            ValueError: if the predictions are not classes.
        """
        raise ValueError(f"{self.owner}: a model that predicts a {self.modality} has one prediction and no scores.")

    def model_inputs(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the encoded inputs of a prediction with what the target needs in addition, inside a graph or outside.

        Args:
            inputs: dict. The encoded inputs by their names.
        """
        return dict(inputs)

    def complete(self, outputs: Any, inputs: Mapping[str, Any]) -> Any:
        """Returns what is decoded for the outputs of the model, inside a graph or outside.

        Where the feature `fills` gaps, that is the input with the outputs in its gaps.

        Args:
            outputs: logits, or generated token ids `[B, T]`.
            inputs: dict. The encoded inputs that they were computed from.
        """
        del inputs
        return outputs

    def best_fills(self, outputs: Any, inputs: Mapping[str, Any], count: int) -> list[list[tuple[str, float]]]:
        """Returns the most probable ways to fill the gaps of each text, with their log-probabilities, the best first.

        Args:
            outputs: float array `[B, M, V]`. The logits of a model that predicts the tokens at masked positions.
            inputs: dict. The encoded inputs that they were computed from.
            count: int. How many are returned for each text, at most.
        """
        raise NotImplementedError

    def decode_in_graph(self, outputs: Any) -> dict:
        """Returns the named tensors of an exported model for the outputs of the model."""
        raise NotImplementedError

    def reconstruction_errors(self, outputs: Any, packed: Any) -> Any:
        """Returns the mean squared error of each reconstruction, floats `[B]`, inside a graph or outside.

        Args:
            outputs: the outputs of an autoencoder.
            packed: the packed raw values that they reconstruct.
        """
        raise NotImplementedError

    # Where predictions are `generated`.

    @property
    def max_tokens(self) -> int:
        """The largest number of tokens of a prediction, once the feature is fitted."""
        raise NotImplementedError

    def target_tokens(self, raw: Sequence) -> "Ragged":
        """Returns the token ids of raw targets."""
        raise NotImplementedError

    @property
    def scored_names(self) -> tuple[str, ...]:
        """The names of the strings in an exported model of which `scored_tokens` makes targets; none if it makes none.

        For a language model they are all of its inputs.
        """
        return ()

    def scored_tokens(self, *packed: Any) -> tuple[Any, Any]:
        """Returns the targets whose log-probability an exported model gives, inside a graph.

        Args:
            *packed: string tensors `[B]`, one for each of `scored_names`.

        Returns:
            The token ids int32 `[B, T]`, and bools `[B, T]`, True for those that are scored.
        """
        raise NotImplementedError

    def search_options(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the options of a search with token ids in place of raw values, and the defaults of this target."""
        return dict(options)

    # Where the target `corrupts`: the corpus holds whole texts, of which input and target are made.

    def corrupt(self, rows: "Ragged", seed: tuple[int, ...]) -> "dict[str, Ragged]":
        """Returns the arrays of a corpus of corrupted rows, `"source"`, `"targets"` and what else the model reads.

        Args:
            rows: `kerazoo.data.Ragged`. Windows of token ids.
            seed: tuple of ints. The corruption is a pure function of it.
        """
        raise NotImplementedError

    def restored(self, corpus: Any) -> list[str]:
        """Returns the texts before they were corrupted.

        Args:
            corpus: `kerazoo.data.Corpus` of what `corrupt` returned.
        """
        raise NotImplementedError

    # As the target of a model without inputs, a language model, whose input is a prompt of the same modality.

    def windows(self, values: Any, training: bool) -> Any:
        """Returns the examples of a language model for stored values."""
        return values

    def prompts(self, values: Any, limit: int | None = None) -> tuple[list, list]:
        """Returns beginnings of examples as raw prompts, and the whole examples.

        Args:
            values: what `windows` returned.
            limit: int. The largest number of examples, spread evenly over them. Defaults to `None`: all of them.
        """
        raise NotImplementedError

    @property
    def prompt_columns(self) -> tuple[str, ...]:
        """The raw columns of a prompt."""
        return self.columns

    def without_prompt(self, prompt: Any, whole: Any) -> Any:
        """Returns what follows the prompt in a prediction, as it is shown beside the prompt."""
        return whole

    def unchanged_prompt(self, prompt: Any, tokens: Any) -> Any:
        """Returns the prediction in a graph for a packed prompt that leaves no room for another token.

        Args:
            prompt: tensor. The packed prompts.
            tokens: int tensor `[B, T]`. Their token ids, cut to the largest length.
        """
        return self.decode_in_graph(tokens)[self.outputs[0]]

    def loss_measures(self, results: Mapping[str, float], values: Any) -> dict[str, float]:
        """Returns the measures of an evaluation of the loss.

        Args:
            results: dict. The loss and the metrics, means over the tokens.
            values: what the corpus stores for the evaluated examples.
        """
        return dict(results)

    # How predictions are measured.

    @property
    def compared_as(self) -> str:
        """What its predictions are to a measure, one of the `modalities` of `kerazoo.tasks.Measure`."""
        return self.modality

    def comparable(self, values: Sequence) -> list:
        """Returns predictions or references as the measures compare them, such as scaled numbers."""
        return list(values)

    def measure_options(self, name: str) -> dict[str, Any]:
        """Returns further arguments of the statistics of a measure, such as how a text is split into tokens."""
        return {}

    def baselines(self, values: Any, inputs: "Sequence[Feature]") -> dict[str, Any]:
        """Returns what predictions without a model need, plain values by the name of the baseline.

        A name says in plain words what is predicted, such as `"most frequent class"`. Of several baselines, that with
        the best measure on the dev examples is reported.

        Args:
            values: the stored values of the training examples; `None` where they are not stored.
            inputs: list of the input features of the task.
        """
        return {}

    def predict_baseline(self, name: str, fitted: Any, raw: Sequence) -> list:
        """Returns the predictions of a baseline, one for each raw input.

        Args:
            name: string. One of the names that `baselines` returned.
            fitted: what it returned under this name.
            raw: list of raw inputs.
        """
        return [fitted] * len(raw)

    def evaluate_baseline(self, fitted: Any, values: Any) -> dict[str, float]:
        """Returns the measures of the baseline of a target that is `evaluated_by_loss`.

        Args:
            fitted: what `baselines` returned for it.
            values: what the corpus stores for the evaluated examples.
        """
        raise NotImplementedError

    def chosen_measures(self, names: Sequence[str] | None = None) -> "list[Measure]":
        """Returns the measures of these names, or those of `measures` whose packages are installed.

        Raises:
            ValueError: if there is no such measure, or it compares predictions of another modality.
            SetupError: if the package of a chosen one is missing.
        """
        from kerazoo.tasks.measures import MEASURES, choose

        if names:
            return choose(self.owner, self.compared_as, names)
        rows = [MEASURES.get(name) for name in self.measures]
        return [row for row in rows if row.is_installed]

    def check_model(self, model: Any) -> None:
        """Raises a ValueError if a model cannot predict this feature as it was fitted."""

    def statistics(
        self,
        predictions: Sequence,
        references: Sequence[Sequence],
        measures: Sequence[str] | None = None,
        groups: Sequence[str] = (),
    ) -> dict[str, np.ndarray]:
        """Returns what the measures need of each example, an array `[N]` or `[N, K]` by the name of the measure.

        Args:
            predictions: list of predictions.
            references: list of lists. The accepted references of each prediction.
            measures: list of strings. Names of measures. Defaults to `None`: those of `measures`.
            groups: list of strings. The value of `scaled_by_column` in each example. Defaults to `()`: there are none.
        """
        check_pairs(self.owner, predictions, references)
        predictions, references = self.comparable(predictions), list(map(self.comparable, references))
        return {
            row.name: row.statistics(predictions, references, **self.measure_options(row.name))
            for row in self.chosen_measures(measures)
        }

    def evaluate(
        self,
        predictions: Sequence,
        references: Sequence[Sequence],
        measures: Sequence[str] | None = None,
        groups: Sequence[str] = (),
    ) -> dict[str, float]:
        """Returns the measures of predictions against lists of accepted references, by name.

        Args:
            predictions: list of predictions.
            references: list of lists. The accepted references of each prediction.
            measures: list of strings. Names of measures. Defaults to `None`: those of `measures`.
            groups: list of strings. As for `statistics`. Defaults to `()`.
        """
        from kerazoo.tasks.measures import MEASURES

        found = self.statistics(predictions, references, measures, groups)
        return {name: float(MEASURES.get(name).reduce(statistics)) for name, statistics in found.items()}

    def _no_label_smoothing(self, what, label_smoothing):
        if label_smoothing:
            raise ValueError(
                f"{self.owner}: {what} take no label_smoothing; got label_smoothing={label_smoothing}. Set it to 0."
            )

    def _same_option(self, name, fitted, given):
        if fitted != given:
            raise ValueError(
                f"{self.owner}: was fitted with {name}={fitted!r}; got {name}={given!r}. Train a new model."
            )


def check_pairs(owner: str, predictions: Sequence, references: Sequence) -> None:
    """Raises a ValueError if there are not as many predictions as references, or none."""
    if len(predictions) != len(references) or not len(predictions):
        raise ValueError(
            f"{owner}: `predictions` and `references` must be equally long and not empty; got {len(predictions)} "
            f"predictions, {len(references)} references."
        )
