"""How far answers are from what was accepted: edit distance, and the rates that are counted from it."""


def edit_distance(first, second):
    """Returns how few insertions, deletions and substitutions turn one sequence into the other.

    The columns of the distance table are kept as bits of Python's long integers, so a step along one sequence costs
    a handful of operations whatever the length of the other.

    Args:
        first: A sequence of hashable tokens (a string counts characters).
        second: The same.

    Returns:
        An integer of at least 0.

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
    places = {}
    for position, token in enumerate(first):
        places[token] = places.get(token, 0) | 1 << position
    everywhere = (1 << len(first)) - 1
    last = 1 << (len(first) - 1)
    distance = len(first)
    rises, falls = everywhere, 0  # where the distance goes up or down by one from a cell to the one below it
    for token in second:
        equal = places.get(token, 0)
        diagonal = (((equal & rises) + rises) ^ rises) | equal | falls  # cells equal to their upper left neighbour
        right_rises = falls | ~(diagonal | rises) & everywhere
        right_falls = diagonal & rises
        distance += bool(right_rises & last) - bool(right_falls & last)
        right_rises = right_rises << 1 | 1
        right_falls <<= 1
        rises = (right_falls | ~(diagonal | right_rises)) & everywhere
        falls = right_rises & diagonal & everywhere
    return distance


def token_error_rate(answers, references, split=None):
    """Returns the edit distance to the closest accepted reference, summed and divided by the references' tokens.

    With phones as tokens this is the phone error rate, with words the word error rate of speech recognition. It may
    exceed 1 where answers are longer than the references.

    Args:
        answers: List of answers, each a sequence of tokens, or a string if `split` is given.
        references: For each answer, the list of references that are accepted; the closest one counts, of equally
            close ones the first.
        split: Function from a string to its tokens, such as `str.split` for words or `list` for characters.

    Returns:
        A float, 0 where all answers are right.

    Raises:
        ValueError: The lists differ in length, are empty, or an answer has no reference.
        TypeError: Answers or references are strings and `split` is missing.

    Example:

    ```python
    import kerazoo as kz

    print(kz.training.token_error_rate(["K AE T"], [["K AE D", "K AA T S"]], split=str.split))
    ```
    """
    edits = tokens = 0
    for answer, accepted in _pairs("token_error_rate", answers, references, split):
        distance, length = min(((edit_distance(answer, one), len(one)) for one in accepted), key=lambda pair: pair[0])
        edits += distance
        tokens += length
    return edits / tokens if tokens else float(edits > 0)


def sequence_error_rate(answers, references, split=None):
    """Returns the share of answers that equal none of their accepted references.

    Arguments and errors are those of `token_error_rate`.

    Example:

    ```python
    import kerazoo as kz

    print(kz.training.sequence_error_rate([[5, 6], [7]], [[[5, 6], [5]], [[8]]]))
    ```
    """
    pairs = _pairs("sequence_error_rate", answers, references, split)
    wrong = sum(all(answer != one for one in accepted) for answer, accepted in pairs)
    return wrong / len(pairs)


def _pairs(owner, answers, references, split):
    """Returns a list of (tokens of the answer, list of the tokens of each accepted reference)."""
    if len(answers) != len(references) or not len(answers):
        raise ValueError(
            f"{owner}: `answers` and `references` must be equally long and not empty; "
            f"got {len(answers)} answers, {len(references)} references."
        )
    pairs = []
    for index, (answer, accepted) in enumerate(zip(answers, references)):
        if isinstance(accepted, str) or not len(accepted):
            raise ValueError(
                f"{owner}: `references` must hold a list of accepted references for each answer; "
                f"got references[{index}]={accepted!r}."
            )
        pairs.append((_tokens(owner, answer, split), [_tokens(owner, one, split) for one in accepted]))
    return pairs


def _tokens(owner, sequence, split):
    if split is not None:
        return list(split(sequence))
    if isinstance(sequence, str) or not hasattr(sequence, "__len__"):
        raise TypeError(
            f"{owner}: answers and references must be sequences of tokens; got {sequence!r}. "
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
