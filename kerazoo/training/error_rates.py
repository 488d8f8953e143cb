"""Edit distance between predictions and references, and the error rates that are computed from it."""

from collections.abc import Callable, Hashable, Sequence


def edit_distance(first: Sequence[Hashable], second: Sequence[Hashable]) -> int:
    """Returns the smallest number of insertions, deletions and substitutions from one sequence to the other.

    A column of the distance table is stored in the bits of a Python integer, so each token of one sequence costs a few
    operations on integers as long as the other.

    Args:
        first: Sequence of hashable tokens; the tokens of a string are its characters.
        second: As `first`.

    Returns:
        int of at least 0.

    Example:

    ```python
    import kerazoo as kz

    print(kz.training.edit_distance("kitten", "sitting"))
    ```

    Reference: Hyyrö 2003, A Bit-Vector Algorithm for Computing Levenshtein and Damerau Edit Distances.
    """
    first, second = _without_common_ends(list(first), list(second))
    if not first or not second:
        return len(first) + len(second)
    positions: dict[Hashable, int] = {}  # token -> bits of its positions in `first`
    for position, token in enumerate(first):
        positions[token] = positions.get(token, 0) | 1 << position
    everywhere = (1 << len(first)) - 1
    last = 1 << (len(first) - 1)
    distance = len(first)
    rises, falls = everywhere, 0  # where the distance goes up or down by one from a cell to the one below it
    for token in second:
        equal = positions.get(token, 0)
        diagonal = (((equal & rises) + rises) ^ rises) | equal | falls  # cells equal to their upper left neighbour
        right_rises = falls | ~(diagonal | rises) & everywhere
        right_falls = diagonal & rises
        distance += bool(right_rises & last) - bool(right_falls & last)
        right_rises = right_rises << 1 | 1
        right_falls <<= 1
        rises = (right_falls | ~(diagonal | right_rises)) & everywhere
        falls = right_rises & diagonal & everywhere
    return distance


def token_error_rate(predictions: Sequence, references: Sequence[Sequence], split: Callable | None = None) -> float:
    """Returns the edit distance to the closest reference, summed and divided by the number of tokens of the references.

    With phones as tokens this is the phone error rate, with words the word error rate of speech recognition. It
    exceeds 1 where predictions are much longer than the references.

    Args:
        predictions: List of predictions, each a sequence of tokens, or a string if `split` is given.
        references: For each prediction, the list of accepted references. The closest one counts, the first of equally
            close ones.
        split: Function from a string to its tokens, such as `str.split` for words or `list` for characters. Defaults to
            `None`.

    Returns:
        float, 0 if all predictions are right.

    Raises:
        ValueError: if the lists differ in length, are empty, or a prediction has no reference.
        TypeError: if predictions or references are strings and `split` is missing.

    Example:

    ```python
    import kerazoo as kz

    print(kz.training.token_error_rate(["K AE T"], [["K AE D", "K AA T S"]], split=str.split))
    ```
    """
    edits, tokens = map(sum, zip(*edit_counts(predictions, references, split, "token_error_rate")))
    return edits / tokens if tokens else float(edits > 0)


def edit_counts(
    predictions: Sequence,
    references: Sequence[Sequence],
    split: Callable | None = None,
    owner: str = "edit_counts",
) -> list[tuple[int, int]]:
    """Returns the edit distance to the closest reference, and the number of tokens of that reference, for each.

    The arguments and errors are those of `token_error_rate`; `owner` is what messages name.
    """
    counts = []
    for prediction, accepted in _pairs(owner, predictions, references, split):
        distances = [(edit_distance(prediction, one), len(one)) for one in accepted]
        counts.append(min(distances, key=lambda pair: pair[0]))
    return counts


def sequence_error_rate(predictions: Sequence, references: Sequence[Sequence], split: Callable | None = None) -> float:
    """Returns the share of predictions that equal none of their accepted references.

    The arguments and errors are those of `token_error_rate`.

    Example:

    ```python
    import kerazoo as kz

    print(kz.training.sequence_error_rate([[5, 6], [7]], [[[5, 6], [5]], [[8]]]))
    ```
    """
    pairs = _pairs("sequence_error_rate", predictions, references, split)
    wrong = sum(all(prediction != one for one in accepted) for prediction, accepted in pairs)
    return wrong / len(pairs)


def _pairs(owner, predictions, references, split):
    """Returns a list of (tokens of the prediction, list of the tokens of each accepted reference)."""
    if len(predictions) != len(references) or not len(predictions):
        raise ValueError(
            f"{owner}: `predictions` and `references` must be equally long and not empty; "
            f"got {len(predictions)} predictions, {len(references)} references."
        )
    pairs = []
    for index, (prediction, accepted) in enumerate(zip(predictions, references)):
        if isinstance(accepted, str) or not len(accepted):
            raise ValueError(
                f"{owner}: `references` must hold a list of accepted references for each prediction; "
                f"got references[{index}]={accepted!r}."
            )
        pairs.append((_tokens(owner, prediction, split), [_tokens(owner, one, split) for one in accepted]))
    return pairs


def _tokens(owner, sequence, split):
    if split is not None:
        return list(split(sequence))
    if isinstance(sequence, str) or not hasattr(sequence, "__len__"):
        raise TypeError(
            f"{owner}: predictions and references must be sequences of tokens; got {sequence!r}. "
            "Pass split=str.split to count words or split=list to count characters of strings."
        )
    return list(sequence)


def _without_common_ends(first, second):
    shorter = min(len(first), len(second))
    start = 0
    while start < shorter and first[start] == second[start]:
        start += 1
    end = 0
    while end < shorter - start and first[-1 - end] == second[-1 - end]:
        end += 1
    return first[start : len(first) - end], second[start : len(second) - end]
