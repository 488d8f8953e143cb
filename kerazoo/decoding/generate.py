"""From plain arrays to answers: ragged batches, few shapes, one compiled program for each."""

import keras
import numpy as np
from keras import ops

from kerazoo import _backend, _checks
from kerazoo.decoding import buckets
from kerazoo.decoding.constraints import LOWEST
from kerazoo.decoding.loop import decode
from kerazoo.decoding.names import make_search
from kerazoo.decoding.ragged import check_length, read_prompt, read_source
from kerazoo.decoding.result import Generated
from kerazoo.decoding.search import Search


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
        model: A `Decodable`, such as the generative models of `kerazoo.models`.
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

    Example:

    ```python
    import kerazoo as kz

    model = kz.create("lstm_seq2seq", units=8, embedding_dim=8)
    answers = kz.decoding.generate(model, [[5, 6, 7], [8]], search="beam", width=3, n_best=2, max_length=6)
    assert answers.tokens.shape == (2, 2, 6)
    assert answers.best().shape == (2, 6)
    ```
    """
    search = make_search(search, **options)
    for each in (model, *search.models):
        if hasattr(each, "build_from_inputs"):
            each.build_from_inputs()
    source = () if source is None else read_source(model, source)
    prompt, prompt_lengths = read_prompt(model, prompt, source)
    rows = len(prompt_lengths)
    max_length = check_length(model, max_length, prompt_lengths)
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
    variables = [variable for each in (model, *search.models) for variable in getattr(each, "variables", ())]
    key = (search, places, ends, jit, has_source, tuple(map(id, variables)))
    # Straight into the dictionary: Keras would take an attribute for a part of the model.
    kept = vars(model).setdefault("_kept_searches", {})
    if key not in kept:

        def run(source, prompt, prompt_lengths, rows, valid, limit, seed):
            encoded = model.encode(source, training=False) if has_source else None
            return decode(
                model,
                search,
                places,
                encoded,
                prompt,
                prompt_lengths,
                limit,
                valid,
                rows,
                seed,
                ends,
                source if has_source else None,
            )

        kept[key] = _backend.compile(run, variables, jit)
    return kept[key]
