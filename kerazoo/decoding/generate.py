"""From plain arrays to answers: names of searches, ragged batches, few shapes, one compiled program for each."""

import dataclasses

import keras
import numpy as np
from keras import ops

from kerazoo import _backend, _checks
from kerazoo.decoding import buckets
from kerazoo.decoding.beam import Beam
from kerazoo.decoding.constraints import (
    LOWEST,
    Allowed,
    Forbidden,
    MaxLength,
    MinLength,
    NoRepeatNgram,
    RepetitionPenalty,
)
from kerazoo.decoding.loop import decode
from kerazoo.decoding.result import Generated
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

# Tokens after the longest prompt, where nobody says how many.
NEW_TOKENS = 64


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


def generate(
    model,
    source=None,
    prompt=None,
    search: Search | str = "greedy",
    max_length: int | None = None,
    batch_size: int | None = None,
    first_row: int = 0,
    end_ids: tuple | None = None,
    jit: bool = False,
    **options,
) -> Generated:
    """Returns what `model` writes.

    The whole search is one compiled program. Batches are filled up to a power of two and sequences to one of a few
    lengths, so that calls of like size share a program; filler changes no answer.

    Args:
        model: A built `Decodable`, such as the generative models of `kerazoo.models`.
        source: What `model.encode` takes, an array or a dictionary of arrays with the batch as first axis; lists of
            lists of token ids may be ragged. None for a language model.
        prompt: First tokens of each answer without the start token, ragged lists or an array padded with `pad_id`.
        search: A search object or its name, see `make_search`.
        max_length: Most tokens of an answer, the prompt included; 64 after the longest prompt by default.
        batch_size: Most sources at once; all by default.
        first_row: Number of the first source, for searches that draw: 5 where five sources went before in another call.
        end_ids: The tokens that end an answer; `(model.end_id,)` by default.
        jit: Whether TensorFlow compiles with XLA: twice as fast where calls repeat, seconds for each new size.
        **options: Arguments of a search that is given by name, see `make_search`.

    Returns:
        A `Generated`.

    Raises:
        ValueError: unknown search or option, more tokens than the model has positions, sizes that do not fit.
    """
    search = make_search(search, **options)
    source = () if source is None else _read_source(model, source)
    prompt, prompt_lengths = _read_prompt(model, prompt, source)
    rows = len(prompt_lengths)
    max_length = _check_length(model, max_length, prompt_lengths)
    ends = (model.end_id,) if end_ids is None else tuple(end_ids)
    seed = np.array(search.call_seed() & 0xFFFFFFFF, "uint32").astype("int32")
    chunk = rows if batch_size is None else _checks.positive_int("generate", "batch_size", batch_size)
    places = buckets.length_bucket(max_length, getattr(model, "max_length", None))
    program = _program(model, search.without_seed(), places, ends, jit, has_source=not isinstance(source, tuple))
    parts = [_nothing(max_length, getattr(search, "n_best", 1), ends)]
    for start in range(0, rows, max(chunk, 1)):
        some = slice(start, start + chunk)
        inputs = keras.tree.map_structure(lambda x, some=some: x[some], (source, prompt, prompt_lengths))
        numbers = np.arange(first_row + start, first_row + start + len(inputs[2]), dtype="int32")
        parts.append(_run(program, *inputs, numbers, max_length, places, seed, ends))
    return Generated.join(parts)


def _nothing(max_length, answers, ends):
    """The result for no source at all."""
    none = np.zeros((0, answers, max_length))
    tokens, scores = none.astype("int32"), none.astype("float32")
    return Generated(tokens, tokens[:, :, 0], scores[:, :, 0], scores, ends, tokens[:, 0, 0])


def _run(program, source, prompt, prompt_lengths, numbers, max_length, places, seed, ends):
    """Fills a batch up, runs it, and throws the filler away."""
    rows = len(numbers)
    filled = buckets.batch_bucket(rows)
    prompt = buckets.fill_length(prompt[:, :places], places, 0)
    each = (source, prompt, prompt_lengths, numbers, np.ones(rows, "bool"))
    each = keras.tree.map_structure(lambda x: buckets.fill_rows(x, filled), each)
    each[-1][rows:] = False
    inputs = keras.tree.map_structure(ops.convert_to_tensor, (*each, np.array(max_length, "int32"), seed))
    found = {name: ops.convert_to_numpy(value)[:rows] for name, value in program(*inputs).items()}
    there = found["scores"] > LOWEST / 2
    return Generated(
        tokens=found["tokens"][:, :, :max_length],
        lengths=found["lengths"] * there,
        scores=np.where(there, found["scores"], -np.inf).astype("float32"),
        token_scores=found["token_scores"][:, :, :max_length],
        end_ids=ends,
        prompt_lengths=prompt_lengths,
    )


def _program(model, search, places, ends, jit, has_source):
    """The compiled search; it is kept with the model, and made again when the model gets other variables."""
    variables = list(getattr(model, "variables", ()))
    key = (search, places, ends, jit, has_source, tuple(map(id, variables)))
    # Straight into the dictionary: Keras would take an attribute for a part of the model.
    kept = vars(model).setdefault("_kept_searches", {})
    if key not in kept:

        def run(source, prompt, prompt_lengths, rows, valid, limit, seed):
            encoded = model.encode(source, training=False) if has_source else None
            return decode(
                model, search, places, encoded, prompt, prompt_lengths, limit, valid, rows, seed, end_ids=ends
            )

        kept[key] = _backend.compile(run, variables, jit)
    return kept[key]


def _read_source(model, source):
    pad_id = getattr(model, "source_pad_id", None)
    if isinstance(source, dict):
        read = {name: _array(x) for name, x in source.items() if name != "source"}
        return {"source": _read_source(model, source["source"]), **read}
    if pad_id is None:
        return _array(source)
    tokens, _ = _tokens("source", source, pad_id)
    most = getattr(model, "max_source_length", None)
    if most is not None and tokens.shape[1] > most:
        raise ValueError(
            f"generate: `source` must have at most max_length={most} tokens, the positions of the model; "
            f"got {tokens.shape[1]}."
        )
    return buckets.fill_length(tokens, buckets.length_bucket(tokens.shape[1], most), pad_id)


def _read_prompt(model, prompt, source):
    rows = len(keras.tree.flatten(source)[0]) if keras.tree.flatten(source) else None
    if prompt is None:
        rows = 1 if rows is None else rows
        return np.zeros((rows, 0), "int32"), np.zeros(rows, "int32")
    tokens, lengths = _tokens("prompt", prompt, model.pad_id)
    if rows is not None and len(tokens) != rows:
        raise ValueError(f"generate: `prompt` must have a row for each source; got {len(tokens)} for {rows} sources.")
    return tokens, lengths


def _tokens(name, rows, pad_id):
    """Returns padded token ids int32 [B, T], and how many of each row count."""
    if hasattr(rows, "to_list"):  # a ragged tensor
        rows = rows.to_list()
    if isinstance(rows, list | tuple) and all(isinstance(row, list | tuple | np.ndarray) for row in rows):
        lengths = np.array([len(row) for row in rows], "int32")
        tokens = np.full((len(rows), lengths.max(initial=0)), pad_id, "int32")
        for place, row in zip(tokens, rows):
            place[: len(row)] = row
        return tokens, lengths
    tokens = _array(rows)
    _checks.rank("generate", name, tokens.shape, (2,))
    if not np.issubdtype(tokens.dtype, np.integer):
        raise TypeError(f"generate: `{name}` must be token ids; got an array of {tokens.dtype}.")
    places = np.arange(1, tokens.shape[1] + 1, dtype="int32")
    return tokens.astype("int32"), (places * (tokens != pad_id)).max(axis=1, initial=0).astype("int32")


def _array(x):
    return ops.convert_to_numpy(x) if ops.is_tensor(x) else np.asarray(x)


def _check_length(model, max_length, prompt_lengths):
    longest, most = int(prompt_lengths.max(initial=0)), getattr(model, "max_length", None)
    if max_length is None:
        max_length = longest + NEW_TOKENS if most is None else min(longest + NEW_TOKENS, most)
    _checks.positive_int("generate", "max_length", max_length)
    if most is not None and max_length > most:
        raise ValueError(
            f"generate: `max_length` must be at most {most}, the positions of the model; got max_length={max_length}."
        )
    if max_length <= longest:
        raise ValueError(
            f"generate: `max_length` must be above the length of every prompt; got max_length={max_length} "
            f"and a prompt of {longest} tokens."
        )
    return int(max_length)
