"""Searches and constraints by the names that options have."""

import dataclasses

from kerazoo import _checks
from kerazoo.decoding.beam import Beam
from kerazoo.decoding.constraints import (
    Allowed,
    Forbidden,
    MaxLength,
    MinLength,
    NoRepeatNgram,
    RepetitionPenalty,
)
from kerazoo.decoding.search import Search
from kerazoo.decoding.select import Greedy, Sample

SEARCHES = {"greedy": Greedy, "sample": Sample, "beam": Beam}

# Constraints by the name of an option, for `generate(..., no_repeat_ngram=3)`.
CONSTRAINTS = {
    "allowed": Allowed,
    "forbidden": Forbidden,
    "max_ratio": lambda ratio: MaxLength(ratio=ratio),
    "min_length": MinLength,
    "no_repeat_ngram": NoRepeatNgram,
    "repetition_penalty": RepetitionPenalty,
}


def make_search(search: Search | str = "greedy", **options) -> Search:
    """Returns a search from its name and options.

    Args:
        search: `"greedy"`, `"sample"`, `"beam"`, or an object, which then takes no options.
        **options: Arguments of the search, and of constraints by name: `allowed`, `forbidden`, `max_ratio` (of the
            source), `min_length`, `no_repeat_ngram`, `repetition_penalty`.

    Example:

    ```python
    from kerazoo import decoding

    search = decoding.make_search("beam", width=5, no_repeat_ngram=3)
    assert search == decoding.Beam(width=5, constraints=(decoding.NoRepeatNgram(3),))
    ```
    """
    if isinstance(search, Search):
        if options:
            raise ValueError(f"generate: {search} takes its options itself; got {', '.join(options)} beside it.")
        return search
    if search not in SEARCHES:
        raise _checks.unknown("search", search, SEARCHES, ", ".join(SEARCHES))
    cls = SEARCHES[search]
    fields = [field.name for field in dataclasses.fields(cls)]
    for option in options:
        if option not in fields and option not in CONSTRAINTS:
            known = [*fields, *CONSTRAINTS]
            raise _checks.unknown(f"option of search {search!r}:", option, known, ", ".join(known))
    named = [CONSTRAINTS[name](value) for name, value in options.items() if name in CONSTRAINTS and value is not None]
    plain = {name: value for name, value in options.items() if name in fields}
    return cls(**{**plain, "constraints": (*plain.get("constraints", ()), *named)})
