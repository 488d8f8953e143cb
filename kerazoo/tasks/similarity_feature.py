"""How similar two texts are, as a feature: a score of each pair, or that the two belong together."""

import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from kerazoo import _checks
from kerazoo.data.plain_numbers import decimal_hint, parse_number
from kerazoo.tasks.feature import Converted, Feature

if TYPE_CHECKING:
    import keras

MAX_RANK = 1000  # down to which a partner is looked for


class SimilarityFeature(Feature):
    """A number for each pair that says how similar its two parts are.

    A dual encoder predicts it: the cosine of the two vectors is trained to be the score, scaled to the range from 0 to
    1 by the smallest and the largest score of the training part, with the mean squared error. A prediction has the unit
    of the scores.

    Args:
        column: string. The name of the raw column, whose values are numbers or strings that hold one. Defaults to
            `"score"`.
    """

    modality = "similarity"
    kinds = ("dual_encoder",)
    monitor = ("val_pearson", "max")
    measures = ("spearman", "mean_absolute_error")
    outputs = ("similarity",)

    def __init__(self, column: str = "score"):
        super().__init__(column)
        self._range = (np.inf, -np.inf)

    def update(self, columns: Mapping[str, Sequence]) -> bool:
        numbers = [number for number in map(parse_number, columns[self.columns[0]]) if number is not None]
        low, high = self._range
        self._range = min([low, *numbers]), max([high, *numbers])
        return True

    def finish(self) -> bool:
        low, high = map(float, self._range)
        if not high > low:
            raise _checks.DataError(
                f"{self.owner}: scores need at least 2 different values; column {self.columns[0]!r} has "
                f"{f'only {low:g}' if high == low else 'none'} in the training data. Name another column, or none for "
                "pairs that belong together."
            )
        self.state = {"low": low, "high": high}
        return False

    def convert(self, columns: Mapping[str, Sequence], continues: bool = False) -> Converted:
        numbers, faults = self.load(columns[self.columns[0]])
        values = np.array([0.0 if number is None else number for number in numbers], np.float64)
        low, high = self.state["low"], self.state["high"]
        return Converted(((values - low) / (high - low)).astype(np.float32), faults=faults)

    def load(self, values: Sequence) -> tuple[list, dict[int, str]]:
        numbers = [parse_number(value) for value in values]
        name = self.columns[0]
        faults = {
            row: f"column {name!r} holds no finite number: {values[row]!r}.{decimal_hint(values[row])}"
            for row, number in enumerate(numbers)
            if number is None
        }
        return numbers, faults

    def targets(self, values: Any) -> Any:
        from keras import ops

        return ops.cast(values, "float32")  # [B]

    def target_sizes(self) -> dict:
        return {}

    def loss(self, label_smoothing: float = 0.0) -> "keras.losses.Loss":
        from kerazoo.training.pair_losses import CosineError

        self._no_label_smoothing("similarities", label_smoothing)
        return CosineError()

    def metrics(self) -> list:
        from kerazoo.training.pair_losses import CosineCorrelation

        return [CosineCorrelation()]

    def summary(self, values: Any) -> str:
        """Returns the range of the scores."""
        return f"scores from {self.state['low']:g} to {self.state['high']:g}"

    @property
    def compared_as(self) -> str:
        return "number"

    def baselines(self, values: Any, inputs: Sequence[Feature]) -> dict[str, Any]:
        return {"share of the words in common": self.state}

    def predict_baseline(self, name: str, fitted: Any, raw: Sequence) -> list:
        from kerazoo.text.bm25 import words

        low, high = fitted["low"], fitted["high"]
        sets = [tuple(set(words(text)) for text in pair) for pair in raw]
        return [low + (high - low) * len(one & two) / max(len(one | two), 1) for one, two in sets]

    def decode(self, outputs: Any) -> list:
        rows = np.asarray(list(outputs), np.float64)
        if not len(rows):
            return []
        low, high = self.state["low"], self.state["high"]
        return (low + (high - low) * _cosines(rows)).tolist()

    def decode_in_graph(self, outputs: Any) -> dict:
        from kerazoo.training.pair_losses import pair_cosines

        low, high = self.state["low"], self.state["high"]
        return {"similarity": low + (high - low) * pair_cosines(outputs)}


class MatchFeature(SimilarityFeature):
    """That the two texts of a pair belong together, as a question and its answer, or a title and its text do.

    A dual encoder learns to find the second text of each pair among those of the whole batch
    (`kerazoo.training.InBatchCrossentropy`). A prediction is the cosine of the two vectors, from -1 to 1.

    Args:
        first: string. The name of the raw column of the first text. Defaults to `"source"`.
        second: string. The name of the raw column of the second text. Defaults to `"target"`.
    """

    monitor = ("val_accuracy", "max")
    measures = ("mrr", "recall@10")

    def __init__(self, first: str = "source", second: str = "target"):
        Feature.__init__(self, first, second)

    @property
    def needs_fit(self) -> bool:
        return False

    def finish(self) -> bool:
        self.state = {"low": 0.0, "high": 1.0}
        return False

    def convert(self, columns: Mapping[str, Sequence], continues: bool = False) -> Converted:
        numbers = [[text_number(text) for text in columns[name]] for name in self.columns]
        return Converted(np.array(numbers, np.int32).T)  # [N, 2]

    def load(self, values: Sequence) -> tuple[list, dict[int, str]]:
        return list(values), {}

    def targets(self, values: Any) -> Any:
        from keras import ops

        return ops.cast(values, "int32")  # [B, 2]

    def loss(self, label_smoothing: float = 0.0) -> "keras.losses.Loss":
        from kerazoo.training.pair_losses import InBatchCrossentropy

        self._no_label_smoothing("pairs", label_smoothing)
        return InBatchCrossentropy()

    def metrics(self) -> list:
        from kerazoo.training.pair_losses import InBatchAccuracy

        return [InBatchAccuracy()]

    @property
    def compared_as(self) -> str:
        return "ranking"

    def decode(self, outputs: Any) -> list:
        rows = np.asarray(list(outputs), np.float32)
        if not len(rows):
            return []
        first, second = np.split(rows, 2, axis=-1)
        return Similarities(super().decode(rows), lambda row: second @ first[row])

    def statistics(
        self,
        predictions: Sequence,
        references: Sequence[Sequence],
        measures: Sequence[str] | None = None,
        groups: Sequence[str] = (),
    ) -> dict[str, np.ndarray]:
        """Returns the statistics of the rankings of the second texts of all pairs, one for each first text.

        Args:
            predictions: list that `decode` returned.
            references: list of lists of one pair of texts.
            measures: list of strings. Names of measures. Defaults to `None`: those of `measures`.
            groups: list of strings. Not used. Defaults to `()`.

        Raises:
            TypeError: if the predictions are those of something else than `decode`.
        """
        if not isinstance(predictions, Similarities):
            raise TypeError(f"{self.owner}: `predictions` must be what `decode` returned; got {type(predictions)}.")
        numbers = [text_number(accepted[0][1]) for accepted in references]
        relevant = [[{number: 1.0}] for number in numbers]
        return super().statistics(predictions.rankings(numbers), relevant, measures)

    def baselines(self, values: Any, inputs: Sequence[Feature]) -> dict[str, Any]:
        return {"BM25, words in common by their rarity": self.state}

    def predict_baseline(self, name: str, fitted: Any, raw: Sequence) -> list:
        from kerazoo.text import BM25

        found = BM25([second for _, second in raw])
        values = [float(found(first)[row]) for row, (first, _) in enumerate(raw)]
        return Similarities(values, lambda row: found(raw[row][0]))

    def summary(self, values: Any) -> str:
        """Returns how many different texts there are."""
        return " and ".join(f"{len(np.unique(column)):,}" for column in np.asarray(values).T) + " different texts"


class Similarities(list):
    """The similarities of pairs, and those of each first text and the second texts of all pairs.

    Args:
        values: list of floats. The similarity of each pair.
        scores: function of the number of a pair that returns the similarities of its first text, array `[N]`.
    """

    def __init__(self, values: Sequence[float], scores: Callable[[int], np.ndarray]):
        super().__init__(values)
        self.scores = scores

    def rankings(self, numbers: Sequence[int]) -> list[list[int]]:
        """Returns for each first text the best second texts by their numbers, each text once.

        Args:
            numbers: list of ints. The number of the second text of each pair.
        """
        unique, rows = np.unique(numbers, return_index=True)
        orders = (np.argsort(-self.scores(row)[rows], kind="stable")[:MAX_RANK] for row in range(len(self)))
        return [unique[order].tolist() for order in orders]


def text_number(text: str) -> int:
    """Returns a number of 32 bits that equal texts share, blanks and case left out."""
    return zlib.crc32(" ".join(text.lower().split()).encode("utf-8", "surrogatepass")) - (1 << 31)


def _cosines(rows):
    """Returns the cosines of pairs of vectors side by side, float64 `[N]`."""
    first, second = np.split(rows, 2, axis=-1)
    scale = np.linalg.norm(first, axis=-1) * np.linalg.norm(second, axis=-1)
    return np.sum(first * second, axis=-1) / np.maximum(scale, 1e-12)
