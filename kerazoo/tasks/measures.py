"""The table of measures: what predictions are compared with references by, under the names that results have.

A measure of a data set is computed in two steps: `statistics` gives numbers for each example, and `reduce` makes one
number of those of all examples. So the examples are compared once, and the measure of a group of them or of a bootstrap
sample follows from their rows, also where it is no mean, as BLEU.
"""

import collections
import dataclasses
import importlib.util
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from kerazoo import _checks
from kerazoo.registry import Registry
from kerazoo.tasks.feature import check_pairs

PACKAGES = {"sacrebleu": "eval", "rouge_score": "eval"}  # and the extra that brings them


def mean_of_rows(statistics: np.ndarray) -> float:
    """Returns the mean of statistics `[N]`, or the sum of the first column of `[N, 2]` divided by that of the second.

    A sum of zero by zero is 0, another number by zero 1.
    """
    if statistics.ndim == 1:
        return float(np.mean(statistics))
    total, count = statistics.sum(axis=0).tolist()
    return total / count if count else float(total > 0)


@dataclasses.dataclass(frozen=True)
class Measure:
    """One row of the table of measures.

    Args:
        name: string. The name in results, such as `"bleu"`.
        statistics: function of predictions, and for each of them a list of accepted references, that returns an array
            `[N]` or `[N, K]`. A feature may give it further arguments (`Feature.measure_options`).
        about: string. What it computes, in one line.
        modalities: tuple of strings. What it compares: the `compared_as` of features.
        reduce: function of the statistics of some examples that returns the measure. Defaults to their mean.
        higher_is_better: bool. Whether a higher value is better; `None` where neither is. Defaults to `False`.
        package: string. The package that it needs, one of `PACKAGES`. Defaults to `""`: none.
        signature: function of the references that returns a text by which others can repeat the computation. Defaults
            to `None`.

    Call arguments:
        predictions: list of predictions, as `Feature.decode` returns them.
        references: list of lists. The accepted references of each prediction.
        **options: further arguments of `statistics`.

    Returns:
        float.

    Raises:
        ValueError: if there are not as many predictions as references, or none.
        SetupError: if its package is missing.

    Example:

    ```python
    from kerazoo.tasks.measures import MEASURES

    accuracy = MEASURES.get("accuracy")
    print(accuracy(["cat", "dog"], [["cat"], ["cat", "tomcat"]]))
    ```
    """

    name: str
    statistics: Callable[..., np.ndarray]
    about: str
    modalities: tuple[str, ...]
    reduce: Callable[[np.ndarray], float] = mean_of_rows
    higher_is_better: bool | None = False
    package: str = ""
    signature: Callable[[Sequence[Sequence]], str] | None = None

    def __call__(self, predictions: Sequence, references: Sequence[Sequence], **options: Any) -> float:
        check_pairs(f"measure {self.name}", predictions, references)
        self.check_installed()
        return float(self.reduce(self.statistics(predictions, references, **options)))

    @property
    def is_installed(self) -> bool:
        """Whether the package that it needs is installed."""
        return not self.package or importlib.util.find_spec(self.package) is not None

    def check_installed(self) -> None:
        """Raises a `SetupError` if its package is missing."""
        if not self.is_installed:
            raise _checks.SetupError(
                f"measure {self.name}: the package {self.package.replace('_', '-')} is not installed. "
                f'Install it with: pip install "kerazoo[{PACKAGES[self.package]}]"'
            )


MEASURES = Registry("measure")


def choose(owner: str, compared_as: str, names: Sequence[str]) -> list[Measure]:
    """Returns the measures of some names, checked.

    Args:
        owner: string. Whose predictions they compare, as messages name it.
        compared_as: string. The modality of the predictions.
        names: list of strings.

    Raises:
        ValueError: if there is no such measure, or it does not compare predictions of this modality.
        SetupError: if the package of one is missing.
    """
    rows = [MEASURES.get(name) for name in dict.fromkeys(names)]
    for row in rows:
        if compared_as not in row.modalities:
            fitting = [name for name in MEASURES if compared_as in MEASURES.get(name).modalities]
            raise ValueError(
                f"{owner}: the measure {row.name!r} compares {' and '.join(row.modalities)}, and the predictions are "
                f"of modality {compared_as!r}. Try {', '.join(fitting) or 'the default'}."
            )
        row.check_installed()
    return rows


# Classes, and texts that are right or wrong as a whole.


def _hits(predictions, references):
    return np.array([prediction in accepted for prediction, accepted in zip(predictions, references)], np.float64)


def _classes(predictions, references):
    """Returns the numbers of the predicted and of the true class of each example, int64 `[N, 2]`."""
    pairs = [(prediction, accepted[0]) for prediction, accepted in zip(predictions, references)]
    ids = {name: index for index, name in enumerate(sorted({name for pair in pairs for name in pair}))}
    return np.array([[ids[name] for name in pair] for pair in pairs])


def _mean_f1(classes):
    """Returns the mean of 2 TP / (2 TP + FP + FN) over the classes that are predicted or true."""
    predicted, true = classes.T
    size = int(classes.max()) + 1
    occurrences = np.bincount(predicted, minlength=size) + np.bincount(true, minlength=size)
    hits = np.bincount(true[predicted == true], minlength=size)
    occurs = occurrences > 0
    return float(np.mean(2 * hits[occurs] / occurrences[occurs]))


# Texts.


def _words(text):
    return text.split()


def _error_counts(predictions, references, split=_words):
    """Returns edits and tokens of the closest reference of each prediction, float64 `[N, 2]`."""
    from kerazoo.training.error_rates import edit_counts

    return np.array(edit_counts(predictions, references, split), np.float64)


def _is_wrong(predictions, references, split=_words):
    from kerazoo.training.error_rates import sequence_error_rate

    pairs = zip(predictions, references)
    return np.array([sequence_error_rate([prediction], [accepted], split) for prediction, accepted in pairs])


def _num_words(predictions, references):
    del references
    return np.array([len(_words(prediction)) for prediction in predictions], np.float64)


def _sacrebleu(name, **options):
    """Returns a metric of sacrebleu, whose segment statistics are those of its own significance tests."""
    from sacrebleu import metrics

    return getattr(metrics, name)(**options)


def _of_sacrebleu(name, **options):
    """Returns statistics, reduce and signature of a measure that sacrebleu computes."""

    def statistics(predictions, references):
        found = _sacrebleu(name, **options)._extract_corpus_statistics(list(predictions), _streams(references))
        return np.array(found, np.int64)  # [N, K]

    def reduce(statistics):
        return _sacrebleu(name, **options)._compute_score_from_stats(statistics.sum(axis=0).tolist()).score

    def signature(references):
        metric = _sacrebleu(name, **options)
        metric._cache_references(_streams(references))
        return str(metric.get_signature())

    return {"statistics": statistics, "reduce": reduce, "signature": signature, "package": "sacrebleu"}


def _streams(references):
    """Returns the first reference of each example, the second or `None`, and so on, as sacrebleu takes them."""
    count = max(map(len, references))
    return [[accepted[n] if n < len(accepted) else None for accepted in references] for n in range(count)]


def _rouge(kind):
    """Returns the statistics of a kind of ROUGE: 100 times the F1 of the closest reference."""

    def statistics(predictions, references):
        from rouge_score.rouge_scorer import RougeScorer

        scorer = RougeScorer([kind])
        pairs = zip(predictions, references)
        return np.array([100 * scorer.score_multi(accepted, text)[kind].fmeasure for text, accepted in pairs])

    return statistics


def _rouge_signature(references):
    from importlib.metadata import version

    counts = collections.Counter(map(len, references))
    return f"nrefs:{next(iter(counts)) if len(counts) == 1 else 'var'}|stemmer:no|rouge-score:{version('rouge-score')}"


# Numbers, windows of series and pixels.


def _arrays(predictions, references):
    return [
        (np.asarray(prediction, np.float64), np.asarray(accepted[0], np.float64))
        for prediction, accepted in zip(predictions, references)
    ]


def _squares(predictions, references):
    return np.array([np.mean((one - two) ** 2) for one, two in _arrays(predictions, references)])


def _distances(predictions, references, aligned=False):
    distance = aligned_distance if aligned else lambda one, two: np.mean(np.abs(one - two))
    return np.array([distance(one, two) for one, two in _arrays(predictions, references)])


def aligned_distance(one: np.ndarray, two: np.ndarray) -> float:
    """Returns the mean absolute difference of two sequences along the path that aligns them best.

    Dynamic time warping: a path goes from the first pair of rows to the last one, by one row of either or of both at a
    time, and is the one with the smallest sum of differences.

    Args:
        one: array `[N, F]`.
        two: array `[M, F]`.
    """
    rows, columns = len(one), len(two)
    costs = sum(np.abs(one[:, None, bin] - two[None, :, bin]) for bin in range(one.shape[1])) / one.shape[1]  # [N, M]
    totals, steps = np.full((rows + 1, columns + 1), np.inf), np.zeros((rows + 1, columns + 1), np.int64)
    totals[0, 0] = 0.0
    for diagonal in range(2, rows + columns + 1):  # whose cells do not depend on each other
        i = np.arange(max(1, diagonal - columns), min(rows, diagonal - 1) + 1)
        j = diagonal - i
        before = [(i - 1, j - 1), (i - 1, j), (i, j - 1)]
        sums = np.stack([totals[cell] for cell in before])
        best = sums.argmin(axis=0)
        totals[i, j] = costs[i - 1, j - 1] + np.take_along_axis(sums, best[None], 0)[0]
        steps[i, j] = 1 + np.choose(best, [steps[cell] for cell in before])
    return float(totals[-1, -1] / steps[-1, -1])


def _length_differences(predictions, references):
    pairs = [(len(one), len(two)) for one, two in _arrays(predictions, references)]
    return np.array([[abs(one - two), two] for one, two in pairs])


def _scaled_distances(predictions, references, naive_error=1.0):
    """Returns errors over that of the seasonal naive forecast of the training rows, the mean over the variables."""
    return np.array([np.mean(np.abs(one - two) / naive_error) for one, two in _arrays(predictions, references)])


def _relative_distances(predictions, references, mean=0.0, deviation=1.0):
    """Returns 200 |y - p| / (|y| + |p|) of numbers in their own units; 0 where both are 0."""
    pairs = ([part * deviation + mean for part in pair] for pair in _arrays(predictions, references))
    sums = [(np.abs(one - two), np.abs(one) + np.abs(two)) for one, two in pairs]
    return np.array([np.mean(200 * error / np.where(size > 0, size, 1.0)) for error, size in sums])


def _crossentropies(predictions, references):
    pairs = ((np.clip(one, 1e-7, 1 - 1e-7), two) for one, two in _arrays(predictions, references))
    return np.array([-np.mean(two * np.log(one) + (1 - two) * np.log(1 - one)) for one, two in pairs])


def _pairs_of_numbers(predictions, references):
    return np.array([np.ravel(pair) for pair in _arrays(predictions, references)]).reshape(len(predictions), 2)


def _spearman(pairs):
    """Returns Pearson's correlation of the ranks, in which equal numbers have their mean rank; 0 for a constant."""
    one, two = (_ranks(column) - (len(column) + 1) / 2 for column in pairs.T)
    scale = np.sqrt(np.sum(one**2) * np.sum(two**2))
    return float(np.sum(one * two) / scale) if scale else 0.0


def _ranks(values):
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[inverse]


# Rankings: a prediction is a list of names, the best first, a reference a dictionary of relevant names to their gain.


def _gains(predictions, references):
    """Yields the gains of the names of each ranking, 0 for those that are not relevant, and those of the relevant."""
    for ranking, accepted in zip(predictions, references):
        relevant = {name: gain for name, gain in accepted[0].items() if gain > 0}
        yield [relevant.get(name, 0.0) for name in ranking], list(relevant.values())


def _discounted(gains, depth):
    """Returns the sum of the first gains, each divided by the binary logarithm of its rank plus 1."""
    return sum(gain / np.log2(rank + 1) for rank, gain in enumerate(gains[:depth], 1))


def _ndcg(predictions, references, depth=10):
    ratios = []
    for gains, relevant in _gains(predictions, references):
        best = _discounted(sorted(relevant, reverse=True), depth)
        ratios.append(_discounted(gains, depth) / best if best else 0.0)
    return np.array(ratios)


def _binary_ndcg(predictions, references):
    return _ndcg(predictions, [[{name: float(gain > 0) for name, gain in each[0].items()}] for each in references])


def _reciprocal_ranks(predictions, references):
    firsts = (np.flatnonzero(gains) for gains, _ in _gains(predictions, references))
    return np.array([1 / (ranks[0] + 1) if len(ranks) else 0.0 for ranks in firsts])


def _recall(predictions, references, depth=10):
    pairs = _gains(predictions, references)
    return np.array([np.count_nonzero(gains[:depth]) / max(len(relevant), 1) for gains, relevant in pairs])


# Likelihoods: a prediction is the negative log-likelihood of an example and the number of its parts.


def _nats(predictions, references):
    del references
    return np.array(predictions, np.float64).reshape(len(predictions), 2)


def _bits(predictions, references):
    return _nats(predictions, references) / [np.log(2), 1]


WORDS = "words between blanks"
for _row in (
    Measure("accuracy", _hits, "share of predictions that are an accepted reference", ("label", "text"),
            higher_is_better=True),
    Measure("f1", _classes, "F1 of each class, the mean over the classes that occur", ("label",), _mean_f1, True),
    Measure("exact_match", _hits, "share of texts that equal a reference, character by character", ("text",),
            higher_is_better=True),
    Measure("token_error_rate", _error_counts, "edits of tokens to the closest reference, by the tokens of the "
            "references", ("text",)),
    Measure("sequence_error_rate", _is_wrong, "share of texts whose tokens differ from all references", ("text",)),
    Measure("word_error_rate", _error_counts, f"edits of {WORDS}, by the words of the references", ("text",)),
    Measure("length", _num_words, f"mean number of {WORDS} of the predictions", ("text",), higher_is_better=None),
    Measure("bleu", about="BLEU of the corpus, 0 to 100, as sacrebleu computes it", modalities=("text",),
            higher_is_better=True, **_of_sacrebleu("BLEU", force=True)),
    Measure("bleu_lower", about="BLEU of lower-cased text, 0 to 100", modalities=("text",),
            higher_is_better=True, **_of_sacrebleu("BLEU", force=True, lowercase=True)),
    Measure("chrf", about="chrF2 of the corpus, 0 to 100, as sacrebleu computes it", modalities=("text",),
            higher_is_better=True, **_of_sacrebleu("CHRF")),
    *(Measure(kind, _rouge(kind), f"F1 of {about}, 0 to 100, the mean over the texts", ("text",), mean_of_rows, True,
              "rouge_score", _rouge_signature)
      for kind, about in (("rouge1", "words"), ("rouge2", "pairs of words"),
                          ("rougeL", "the longest common subsequence of words"))),
    Measure("mean_squared_error", _squares, "mean of squared errors", ("number", "series", "image")),
    Measure("mean_absolute_error", _distances, "mean of absolute errors", ("number", "series", "image", "sound")),
    Measure("length_error", _length_differences, "differences of the durations, by the durations of the references",
            ("sound",)),
    Measure("mase", _scaled_distances, "absolute errors over those of the seasonal naive forecast of the training rows",
            ("series",)),
    Measure("smape", _relative_distances, "absolute errors over the mean of prediction and truth, 0 to 200 %",
            ("series",)),
    Measure("spearman", _pairs_of_numbers, "rank correlation of predictions and references, -1 to 1", ("number",),
            _spearman, True),
    Measure("ndcg@10", _binary_ndcg, "discounted gain of the first 10, by the best possible; relevant is 1, else 0",
            ("ranking",), higher_is_better=True),
    Measure("graded_ndcg@10", _ndcg, "the same with the gain of each grade", ("ranking",), higher_is_better=True),
    Measure("mrr", _reciprocal_ranks, "1 divided by the rank of the first relevant one", ("ranking",),
            higher_is_better=True),
    Measure("recall@10", _recall, "share of the relevant ones among the first 10", ("ranking",),
            higher_is_better=True),
    Measure("binary_crossentropy", _crossentropies, "cross-entropy of pixels in [0, 1]", ("image",)),
    Measure("nats", _nats, "negative log-likelihood of a character, in nats", ("language model",)),
    Measure("nats_per_token", _nats, "negative log-likelihood of a token, in nats", ("corrupted text",)),
    Measure("bits_per_dimension", _bits, "negative log-likelihood of a pixel, in bits", ("pixels",)),
):  # fmt: skip
    MEASURES.add(_row.name, _row)
