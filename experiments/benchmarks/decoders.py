"""The systems whose decoding is compared, each in a process of its own that decodes one case.

A request runs one call; the reply is its seconds and the most memory of the process so far.
"""

import dataclasses
import multiprocessing
import os
import sys
import tempfile
from collections.abc import Callable
from typing import Any

import numpy as np

from experiments.benchmarks import workers
from experiments.benchmarks.decoding_cases import (
    CASES,
    HIDDEN_DIM,
    NUM_BEAMS,
    NUM_LAYERS,
    SOURCE_LENGTH,
    VOCABULARY_SIZE,
    Case,
)
from experiments.benchmarks.timing import timed

NUM_HEADS = 4
JAX, ACTIVE = {"KERAS_BACKEND": "jax"}, {"OMP_WAIT_POLICY": "ACTIVE"}


@dataclasses.dataclass(frozen=True)
class System:
    """A library with the environment variables that it runs with; `fits` says whether it decodes a case."""

    make: Callable[[Case], Callable[[], object]]
    variables: dict[str, str] = dataclasses.field(default_factory=dict)
    fits: Callable[[Case], bool] = lambda case: case.model == "transformer"


def serve(system: str, case: str) -> None:
    """Runs the process of one system until its standard input ends."""

    def start():
        call = SYSTEMS[system].make(CASES[case])
        return lambda _request: {"seconds": timed(call), "peak_mib": workers.peak_mib()}

    workers.serve(start)


def _kerazoo_model(name: str) -> Any:
    import keras

    import kerazoo as kz

    keras.utils.set_random_seed(0)
    sizes = {"source_vocabulary_size": VOCABULARY_SIZE, "target_vocabulary_size": VOCABULARY_SIZE}
    if name == "lstm":
        made = kz.models.LSTMSeq2Seq(embedding_dim=HIDDEN_DIM, units=HIDDEN_DIM, attention="multiplicative", **sizes)
    else:
        made = kz.models.TransformerSeq2Seq(
            num_encoder_layers=NUM_LAYERS, num_decoder_layers=NUM_LAYERS, hidden_dim=HIDDEN_DIM, num_heads=NUM_HEADS,
            intermediate_dim=4 * HIDDEN_DIM, norm="pre", share_embeddings=False, tie_output=False, **sizes,
        )  # fmt: skip
    made.build_from_inputs()
    return made


def _kerazoo(case: Case, shortlist: bool = False) -> Callable[[], object]:
    made, sources = _kerazoo_model(case.model), case.sources()
    options = {"num_beams": NUM_BEAMS} if case.search == "beam" else {}
    # The end is excluded, so that all systems generate the same number of tokens.
    if shortlist:
        options |= {"shortlist": _random_shortlist(), "min_length": case.new_tokens}
    else:
        options["forbidden"] = made.end_id
    return lambda: made.generate(sources, search=case.search, max_length=case.new_tokens, jit_compile=True, **options)


def _random_shortlist() -> Any:
    """Returns a shortlist of the default sizes; which tokens it holds does not change the time."""
    import kerazoo as kz

    candidates = np.random.default_rng(1).integers(4, VOCABULARY_SIZE, (VOCABULARY_SIZE, 20))
    return kz.decoding.Shortlist(np.arange(4, 504), candidates, vocabulary_size=VOCABULARY_SIZE)


def _uncached(case: Case) -> Callable[[], object]:
    made, sources = _kerazoo_model(case.model), case.sources()

    def call():
        targets = np.zeros((case.batch, case.new_tokens), "int32")
        for index in range(case.new_tokens):
            logits = made.predict_on_batch({"source": sources, "targets": targets})
            targets[:, index] = np.argmax(logits[:, index], axis=-1)

    return call


def _keras_hub(case: Case) -> Callable[[], object]:
    import keras_hub

    backbone = keras_hub.models.BartBackbone(
        vocabulary_size=VOCABULARY_SIZE, num_layers=NUM_LAYERS, num_heads=NUM_HEADS, hidden_dim=HIDDEN_DIM,
        intermediate_dim=4 * HIDDEN_DIM, dropout=0.0, max_sequence_length=2 * max(SOURCE_LENGTH, case.new_tokens),
    )  # fmt: skip
    language_model = keras_hub.models.BartSeq2SeqLM(backbone=backbone, preprocessor=None)
    sampler = keras_hub.samplers.BeamSampler(num_beams=NUM_BEAMS) if case.search == "beam" else "greedy"
    language_model.compile(sampler=sampler, jit_compile=True)
    tokens = np.zeros((case.batch, case.new_tokens + 1), "int32")
    padding_mask = np.zeros(tokens.shape, bool)
    tokens[:, 0], padding_mask[:, 0] = 2, True
    inputs = {
        "encoder_token_ids": case.sources(),
        "encoder_padding_mask": np.ones((case.batch, SOURCE_LENGTH), bool),
        "decoder_token_ids": tokens,
        "decoder_padding_mask": padding_mask,
    }
    return lambda: language_model.generate(inputs, stop_token_ids=None)


def _transformers(case: Case) -> Callable[[], object]:
    import torch
    from transformers import BartConfig, BartForConditionalGeneration

    device = workers.torch_device()
    sizes = {"vocab_size": VOCABULARY_SIZE, "d_model": HIDDEN_DIM, "max_position_embeddings": 1024}
    for side in ("encoder", "decoder"):
        sizes |= {f"{side}_layers": NUM_LAYERS, f"{side}_attention_heads": NUM_HEADS, f"{side}_ffn_dim": 4 * HIDDEN_DIM}
    language_model = BartForConditionalGeneration(BartConfig(**sizes)).eval()
    sources = torch.from_numpy(case.sources()).to(device).long()
    options = {"max_new_tokens": case.new_tokens, "min_new_tokens": case.new_tokens, "num_beams": case.num_beams}

    def call():
        with torch.inference_mode():
            language_model.generate(sources, do_sample=False, **options).cpu()

    return call


def _exported(case: Case, folder: str, quantization: str | None) -> None:
    import kerazoo as kz

    task = kz.tasks.create("reverse", length=4, examples=50)  # for its tokenizer alone, which stands in every export
    kz.export.export_ctranslate2(_kerazoo_model(case.model), task, folder, quantization)


def _ctranslate2(case: Case, quantization: str | None = None) -> Callable[[], object]:
    import ctranslate2

    with tempfile.TemporaryDirectory() as folder:
        saved = f"{folder}/saved"
        # In another process, whose memory does not count.
        export = multiprocessing.get_context("spawn").Process(target=_exported, args=(case, saved, quantization))
        export.start()
        export.join()
        model = ctranslate2.Translator(saved, device="cpu", intra_threads=os.cpu_count() or 1)
    rows = [[str(token) for token in row] for row in case.sources()]
    options = {"max_decoding_length": case.new_tokens, "min_decoding_length": case.new_tokens, "max_input_length": 0}
    return lambda: model.translate_batch(rows, beam_size=case.num_beams, **options)


def _torch_lstm(case: Case) -> Callable[[], object]:
    import torch
    from torch import nn

    device = workers.torch_device()
    tables = [nn.Embedding(VOCABULARY_SIZE, HIDDEN_DIM) for _ in range(2)]
    encoder = nn.LSTM(HIDDEN_DIM, HIDDEN_DIM, batch_first=True)
    cell, head = nn.LSTMCell(HIDDEN_DIM, HIDDEN_DIM), nn.Linear(HIDDEN_DIM, VOCABULARY_SIZE)
    query, combine = nn.Linear(HIDDEN_DIM, HIDDEN_DIM, bias=False), nn.Linear(2 * HIDDEN_DIM, HIDDEN_DIM)
    sources = torch.from_numpy(case.sources()).to(device).long()

    def call():
        with torch.inference_mode():
            encoded, state = encoder(tables[0](sources))
            state, found = tuple(each[0] for each in state), [torch.ones(case.batch, dtype=torch.long, device=device)]
            for _ in range(case.new_tokens):
                state = cell(tables[1](found[-1]), state)
                weights = torch.einsum("bd,bsd->bs", query(state[0]), encoded).softmax(-1)
                context = torch.einsum("bs,bsd->bd", weights, encoded)
                found.append(head(combine(torch.cat([context, state[0]], -1)).tanh()).argmax(-1))
            torch.stack(found).cpu()

    return call


SYSTEMS = {
    "kerazoo, TensorFlow": System(_kerazoo, fits=lambda case: True),
    "kerazoo, JAX": System(_kerazoo, JAX, fits=lambda case: True),
    "kerazoo with a shortlist, TensorFlow": System(lambda case: _kerazoo(case, shortlist=True), fits=lambda case: True),
    "kerazoo with a shortlist, JAX": System(lambda case: _kerazoo(case, shortlist=True), JAX, fits=lambda case: True),
    "kerazoo uncached, TensorFlow": System(
        _uncached, fits=lambda case: case.search == "greedy" and case.batch <= 16 and case.new_tokens <= 64
    ),
    "KerasHub, TensorFlow": System(_keras_hub),
    "KerasHub, JAX": System(_keras_hub, JAX),
    "transformers, PyTorch": System(_transformers),
    "CTranslate2": System(_ctranslate2),
    "CTranslate2, threads that spin": System(_ctranslate2, ACTIVE),
    "CTranslate2 int8, threads that spin": System(lambda case: _ctranslate2(case, "int8"), ACTIVE),
    "PyTorch, a loop in Python": System(
        _torch_lstm, fits=lambda case: case.model == "lstm" and case.search == "greedy"
    ),
}

if __name__ == "__main__":
    serve(sys.argv[1], sys.argv[2])
