"""Generation from plain arrays: ragged batches, few static shapes, one compiled program for each."""

import dataclasses
from typing import Any

import keras
import numpy as np
from keras import ops

from kerazoo import _checks
from kerazoo.decoding import programs, prompts
from kerazoo.decoding.context import DecodingContext
from kerazoo.decoding.decode import decode
from kerazoo.decoding.protocol import Decodable, check_decodable
from kerazoo.decoding.result import Generated
from kerazoo.decoding.score import align
from kerazoo.decoding.search import Search
from kerazoo.decoding.searches import make_search


def generate(
    model: Decodable,
    source: Any = None,
    prompt: Any = None,
    search: Search | str = "greedy",
    max_length: int | None = None,
    *,
    batch_size: int | None = None,
    first_row: int = 0,
    end_ids: tuple[int, ...] | None = None,
    jit_compile: bool | None = None,
    alignment: bool = False,
    **options: Any,
) -> Generated:
    """Generates sequences with `model`.

    The whole search is one compiled program. Batches are padded to a power of two of rows and sequences to one of a few
    lengths, so that calls of similar size share a program; padding changes no result. The logger `kerazoo` reports when
    a program is compiled.

    Args:
        model: `Decodable`, such as the generative models of `kerazoo.models`.
        source: The source of each sequence, with the batch as first axis: an array, a tensor or a list of rows of token
            ids, which may be ragged; or a dictionary of them, by the names of the inputs of `model.encode`, such as
            `"source"`, `"source_2"` and `"source_mask"`. Defaults to `None`, for a language model.
        prompt: list of rows, or array padded with `pad_id`. First tokens of each sequence, without the start token.
            Defaults to `None`.
        search: `Search` or its name, see `make_search`. Defaults to `"greedy"`.
        max_length: int. Maximum number of tokens of a sequence, the prompt included. Defaults to 64 more than the
            longest prompt.
        batch_size: int. Maximum number of sources that are decoded at once. Defaults to all.
        first_row: int. Number of the first source, for searches that sample: 5 if another call decoded the five sources
            before it. Defaults to `0`.
        end_ids: tuple of int. Tokens that end a sequence. Defaults to `(model.end_id,)`.
        jit_compile: bool. Whether TensorFlow compiles the search with XLA, which takes a few seconds for each new size.
            Defaults to `model.prefers_jit`. JAX always compiles with XLA.
        alignment: bool. Whether to return the attention of each token to the source. Defaults to `False`.
        **options: Arguments of a search that is given by name, see `make_search`.

    Returns:
        `Generated`.

    Raises:
        TypeError: if `model` is not `Decodable`, or a source or prompt of token ids is not of integers.
        ValueError: if a search or option is unknown, sizes do not fit, the model has fewer positions than `max_length`,
            or has no attention to return.

    Example:

    ```python
    import kerazoo as kz

    model = kz.create("lstm_seq2seq", units=8, embedding_dim=8)
    found = kz.decoding.generate(model, [[5, 6, 7], [8]], search="beam", num_beams=3, n_best=2, max_length=6)
    assert found.tokens.shape == (2, 2, 6)
    assert found.best().shape == (2, 6)
    ```
    """
    batch = read_batch(model, source, prompt, search, max_length, first_row, end_ids, options)
    jit_compile = model.prefers_jit if jit_compile is None else jit_compile
    size = batch.rows if batch_size is None else _checks.positive_int("generate", "batch_size", batch_size)
    parts = [_empty(batch, alignment)]
    for start in range(0, batch.rows, max(size, 1)):
        parts.append(_run(model, batch.slice(start, start + size), jit_compile, alignment))
    return Generated.concatenate(parts)


@dataclasses.dataclass(frozen=True)
class Batch:
    """The arguments of `generate` as arrays, for B sources.

    Args:
        search: `Search`.
        source: nest of arrays, `()` without a source.
        prompt: int32 [B, P], P one of a few widths.
        prompt_lengths: int32 [B].
        row_ids: int32 [B]. A number for each source that no other source has.
        max_length: int. Maximum number of tokens of a sequence.
        padded_length: int. The same, padded to one of a few lengths.
        end_ids: tuple of int. Tokens that end a sequence.
        seed: int32 scalar.
    """

    search: Search
    source: Any
    prompt: np.ndarray
    prompt_lengths: np.ndarray
    row_ids: np.ndarray
    max_length: int
    padded_length: int
    end_ids: tuple[int, ...]
    seed: np.ndarray

    @property
    def rows(self) -> int:
        """Number of sources B."""
        return len(self.prompt_lengths)

    @property
    def program_key(self) -> tuple:
        """Everything besides shapes that a program of this batch depends on."""
        return (self.search.without_seed(), self.padded_length, self.end_ids)

    def slice(self, start: int, stop: int) -> "Batch":
        """Returns the batch of some rows."""
        names = ("source", "prompt", "prompt_lengths", "row_ids")
        rows = keras.tree.map_structure(lambda x: x[start:stop], [getattr(self, name) for name in names])
        return dataclasses.replace(self, **dict(zip(names, rows)))

    def arrays(self) -> dict[str, Any]:
        """Returns the fields of a `DecodingContext` as arrays, padded to a power of two of rows."""
        arrays = {
            "source": self.source,
            "prompt": self.prompt,
            "prompt_lengths": self.prompt_lengths,
            "row_ids": self.row_ids,
            "row_mask": np.ones(self.rows, "bool"),
        }
        size = prompts.batch_bucket(self.rows)
        arrays = keras.tree.map_structure(lambda x: prompts.pad_rows(x, size), arrays)
        arrays["row_mask"][self.rows :] = False
        return {**arrays, "max_lengths": np.array(self.max_length, "int32"), "seed": self.seed}


def build_context(encoded: Any, arrays: dict[str, Any], end_ids: tuple[int, ...]) -> DecodingContext:
    """Returns the context of a program, from what the program of the encoder and `Batch.arrays` return."""
    fields = {**arrays, "source": programs.none_if_empty(arrays["source"])}
    return DecodingContext(encoded=programs.none_if_empty(encoded), end_ids=end_ids, **fields)


def read_batch(
    model: Decodable,
    source: Any,
    prompt: Any,
    search: Search | str,
    max_length: int | None,
    first_row: int,
    end_ids: tuple[int, ...] | None,
    options: dict[str, Any],
) -> Batch:
    """Builds the models and returns the arguments of `generate` as a `Batch`."""
    search = make_search(search, **options)
    for each in (model, *search.models):
        check_decodable("generate", each)
        each.build_from_inputs()
    source = prompts.read_source(model, source)
    prompt, prompt_lengths = prompts.read_prompt(model, prompt, source)
    max_length = prompts.check_max_length(model, max_length, prompt_lengths)
    padded_length, width = prompts.length_bucket(max_length, model.max_length), prompt.shape[1]
    if width:
        prompt_width = min(prompts.length_bucket(width, model.max_length), padded_length)
        prompt = prompts.pad_length(prompt, prompt_width, 0)
    return Batch(
        search=search,
        source=source,
        prompt=prompt[:, :padded_length],
        prompt_lengths=prompt_lengths,
        row_ids=np.arange(first_row, first_row + len(prompt_lengths), dtype="int32"),
        max_length=max_length,
        padded_length=padded_length,
        end_ids=(model.end_id,) if end_ids is None else tuple(end_ids),
        seed=np.array(search.new_seed() & 0xFFFFFFFF, "uint32").astype("int32"),
    )


def _empty(batch, alignment):
    """Returns the result for no source at all."""
    shape = (0, batch.search.num_results, batch.max_length)
    return Generated(
        tokens=np.zeros(shape, "int32"),
        lengths=np.zeros(shape[:2], "int32"),
        scores=np.zeros(shape[:2], "float32"),
        token_scores=np.zeros(shape, "float32"),
        end_ids=batch.end_ids,
        prompt_lengths=np.zeros(0, "int32"),
        alignment=np.zeros((*shape, 0), "float32") if alignment else None,
    )


def _run(model, batch, jit_compile, alignment):
    """Pads a batch, runs its program, and removes the padding from the result."""
    arrays = batch.arrays()
    encoded = programs.encoder_program(model, arrays["source"], jit_compile)(arrays["source"])
    if not batch.search.reads_source:
        arrays["source"] = ()
    found = _search_program(model, batch, jit_compile)(encoded, arrays)
    if alignment:
        found["alignment"] = _alignment_program(model, jit_compile)(encoded, found["tokens"], found["lengths"])
    found = {name: ops.convert_to_numpy(value)[: batch.rows] for name, value in found.items()}
    for name in {"tokens", "token_scores", "alignment"} & set(found):
        found[name] = found[name][:, :, : batch.max_length]
    return Generated(end_ids=batch.end_ids, prompt_lengths=batch.prompt_lengths, **found)


def _search_program(model, batch, jit_compile):
    search, padded_length, end_ids = batch.program_key

    def run(encoded, arrays):
        return decode(model, search, padded_length, build_context(encoded, arrays, end_ids))

    description = f"{type(search).__name__} for sequences of up to {padded_length} tokens"
    return programs.cached_program((model, *search.models), batch.program_key, run, jit_compile, description)


def _alignment_program(model, jit_compile):
    def run(encoded, tokens, lengths):
        return align(model, programs.none_if_empty(encoded), tokens, lengths)

    return programs.cached_program((model,), "align", run, jit_compile, "the alignment")
