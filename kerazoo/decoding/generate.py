"""From plain arrays to answers: ragged batches, few shapes, one compiled program for each."""

import dataclasses

import keras
import numpy as np
from keras import ops

from kerazoo import _checks
from kerazoo.decoding import buckets, programs
from kerazoo.decoding.constraints import LOWEST
from kerazoo.decoding.loop import decode
from kerazoo.decoding.names import make_search
from kerazoo.decoding.protocol import check_decodable
from kerazoo.decoding.ragged import check_length, read_prompt, read_source
from kerazoo.decoding.replay import align
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
    jit: bool | None = None,
    alignment: bool = False,
    **options,
) -> Generated:
    """Returns what `model` writes.

    The whole search is one compiled program. Batches are filled up to a power of two and sequences to one of a few
    lengths, so that calls of like size share a program; filler changes no answer. When a program is compiled the logger
    `kerazoo` says so.

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
        jit: Whether TensorFlow compiles the search with XLA, which takes a few seconds more for each new size. By
            default where it helps: a Transformer writes two to three times as fast, an LSTM no faster. JAX always does.
        alignment: Whether to return the attention of each token to the source.
        **options: Arguments of a search that is given by name, see `make_search`.

    Returns:
        A `Generated`.

    Raises:
        ValueError: unknown search or option, more tokens than the model has positions, sizes that do not fit, or no
            attention to return.

    Example:

    ```python
    import kerazoo as kz

    model = kz.create("lstm_seq2seq", units=8, embedding_dim=8)
    answers = kz.decoding.generate(model, [[5, 6, 7], [8]], search="beam", width=3, n_best=2, max_length=6)
    assert answers.tokens.shape == (2, 2, 6)
    assert answers.best().shape == (2, 6)
    ```
    """
    call = read_call(model, source, prompt, search, max_length, first_row, end_ids, options)
    jit = model.prefers_jit if jit is None else jit
    chunk = call.rows if batch_size is None else _checks.positive_int("generate", "batch_size", batch_size)
    parts = [_nothing(call, alignment)]
    for start in range(0, call.rows, max(chunk, 1)):
        parts.append(_run(model, call.take(start, start + chunk), jit, alignment))
    return Generated.join(parts)


@dataclasses.dataclass(frozen=True)
class Call:
    """What one call asks for, as arrays.

    Args:
        search: The search.
        source: A nest of arrays, `()` without a source.
        prompt: int32 [B, P], P one of a few widths.
        prompt_lengths: int32 [B].
        numbers: A number for each row that no other row has, int32 [B].
        max_length: Most tokens of an answer.
        places: The same, one of a few lengths.
        end_ids: The tokens that end an answer.
        seed: int32.
    """

    search: Search
    source: object
    prompt: np.ndarray
    prompt_lengths: np.ndarray
    numbers: np.ndarray
    max_length: int
    places: int
    end_ids: tuple
    seed: np.ndarray

    @property
    def rows(self):
        """The number B."""
        return len(self.prompt_lengths)

    def take(self, start, stop):
        """Returns the call for some rows alone."""
        names = ("source", "prompt", "prompt_lengths", "numbers")
        some = keras.tree.map_structure(lambda x: x[start:stop], [getattr(self, name) for name in names])
        return dataclasses.replace(self, **dict(zip(names, some)))

    def inputs(self):
        """Returns the source, and the other arrays of a program, filled up to a power of two of rows."""
        filled = buckets.batch_bucket(self.rows)
        each = (self.source, self.prompt, self.prompt_lengths, self.numbers, np.ones(self.rows, "bool"))
        source, *each = keras.tree.map_structure(lambda x: buckets.fill_rows(x, filled), each)
        each[-1][self.rows :] = False
        return source, (*each, np.array(self.max_length, "int32"), self.seed)


def read_call(model, source, prompt, search, max_length, first_row, end_ids, options) -> Call:
    """Returns the call that the arguments of `generate` ask for, and builds the models."""
    search = make_search(search, **options)
    for each in (model, *search.models):
        check_decodable("generate", each)
        each.build_from_inputs()
    source = () if source is None else read_source(model, source)
    prompt, prompt_lengths = read_prompt(model, prompt, source)
    max_length = check_length(model, max_length, prompt_lengths)
    most, width = model.max_length, prompt.shape[1]
    places = buckets.length_bucket(max_length, most)
    if width:
        prompt = buckets.fill_length(prompt, min(buckets.length_bucket(width, most), places), 0)
    return Call(
        search=search,
        source=source,
        prompt=prompt[:, :places],
        prompt_lengths=prompt_lengths,
        numbers=np.arange(first_row, first_row + len(prompt_lengths), dtype="int32"),
        max_length=max_length,
        places=places,
        end_ids=(model.end_id,) if end_ids is None else tuple(end_ids),
        seed=np.array(search.call_seed() & 0xFFFFFFFF, "uint32").astype("int32"),
    )


def _nothing(call, alignment):
    """The result for no source at all."""
    none = np.zeros((0, getattr(call.search, "n_best", 1), call.max_length))
    tokens, scores = none.astype("int32"), none.astype("float32")
    looked = np.zeros((*none.shape, 0), "float32") if alignment else None
    return Generated(tokens, tokens[:, :, 0], scores[:, :, 0], scores, call.end_ids, tokens[:, 0, 0], looked)


def _run(model, call, jit, alignment):
    """Fills a batch up, runs it, and throws the filler away."""
    source, inputs = call.inputs()
    encoded = programs.encode(model, source, jit)
    drafted = source if call.search.models else ()
    found = _program(model, call, jit)(encoded, drafted, *inputs)
    looked = None
    if alignment:
        looked = ops.convert_to_numpy(_aligning(model, jit)(encoded, found["tokens"]))
        looked = looked[: call.rows, :, : call.max_length]
    found = {name: ops.convert_to_numpy(value)[: call.rows] for name, value in found.items()}
    there = found["scores"] > LOWEST / 2
    if looked is not None:
        real = np.arange(call.max_length) < (found["lengths"] * there)[:, :, None]
        looked = np.where(real[..., None], looked, 0).astype("float32")
    return Generated(
        tokens=found["tokens"][:, :, : call.max_length],
        lengths=found["lengths"] * there,
        scores=np.where(there, found["scores"], -np.inf).astype("float32"),
        token_scores=found["token_scores"][:, :, : call.max_length],
        end_ids=call.end_ids,
        prompt_lengths=call.prompt_lengths,
        alignment=looked,
        accepted=found.get("accepted"),
    )


def _program(model, call, jit):
    """The compiled search."""
    search, places, ends = call.search.without_seed(), call.places, call.end_ids

    def run(encoded, source, prompt, prompt_lengths, rows, valid, limit, seed):
        encoded, source = programs.something(encoded), programs.something(source)
        return decode(model, search, places, encoded, prompt, prompt_lengths, limit, valid, rows, seed, ends, source)

    what = f"{type(search).__name__} for answers of up to {places} tokens"
    return programs.kept((model, *search.models), (search, places, ends), run, jit, what)


def _aligning(model, jit):
    def run(encoded, tokens):
        return align(model, programs.something(encoded), tokens)

    return programs.kept((model,), "align", run, jit, "the alignment")
