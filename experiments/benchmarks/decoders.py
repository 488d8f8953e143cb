"""The systems whose decoding is compared, each in a process of its own that is started with the name of the system.

A request is a case; the reply is the seconds that one call took.
"""

import os
import sys

import numpy as np

from experiments.benchmarks import workers
from experiments.benchmarks.timing import timed

VOCABULARY_SIZE, HIDDEN_DIM, NUM_LAYERS, SOURCE_LENGTH, NUM_BEAMS = 8192, 256, 4, 64, 4
SYSTEMS = {  # name: backend of Keras, library
    "kerazoo, TensorFlow": ("tensorflow", "kerazoo"),
    "kerazoo, JAX": ("jax", "kerazoo"),
    "kerazoo uncached, TensorFlow": ("tensorflow", "uncached"),
    "KerasHub, TensorFlow": ("tensorflow", "keras_hub"),
    "KerasHub, JAX": ("jax", "keras_hub"),
    "transformers, PyTorch": ("", "transformers"),
}


def serve(system: str, new_tokens: int) -> None:
    """Runs the process of one system until its standard input ends."""
    libraries = {"kerazoo": _kerazoo, "uncached": _uncached, "keras_hub": _keras_hub, "transformers": _transformers}
    calls = {}

    def start():
        make = libraries[SYSTEMS[system][1]](new_tokens)

        def reply(case):
            if case not in calls:
                model, search, batch = case.split()
                calls[case] = make(model, search, int(batch))
            return None if calls[case] is None else timed(calls[case])

        return reply

    workers.serve(start)


def _sources(batch):
    return np.random.default_rng(0).integers(4, VOCABULARY_SIZE - 1, (batch, SOURCE_LENGTH)).astype("int32")


def _kerazoo_model(name):
    import keras

    import kerazoo as kz

    keras.utils.set_random_seed(0)
    sizes = {"source_vocabulary_size": VOCABULARY_SIZE, "target_vocabulary_size": VOCABULARY_SIZE}
    if name == "lstm":
        made = kz.models.LSTMSeq2Seq(embedding_dim=HIDDEN_DIM, units=HIDDEN_DIM, attention="multiplicative", **sizes)
    else:
        made = kz.models.TransformerSeq2Seq(
            num_encoder_layers=NUM_LAYERS, num_decoder_layers=NUM_LAYERS, hidden_dim=HIDDEN_DIM, num_heads=4,
            intermediate_dim=4 * HIDDEN_DIM, norm="pre", share_embeddings=False, tie_output=False, **sizes,
        )  # fmt: skip
    made.build_from_inputs()
    return made


def _kerazoo(new_tokens):
    models = {}

    def make(model, search, batch):
        made, sources = models.setdefault(model, _kerazoo_model(model)), _sources(batch)
        options = {"num_beams": NUM_BEAMS} if search == "beam" else {}
        # The end is forbidden, so that all systems generate the same number of tokens.
        options["forbidden"] = made.end_id
        return lambda: made.generate(sources, search=search, max_length=new_tokens, jit_compile=True, **options)

    return make


def _uncached(new_tokens):
    def make(model, search, batch):
        if search != "greedy":
            return None
        made, sources = _kerazoo_model(model), _sources(batch)

        def call():
            targets = np.zeros((batch, new_tokens), "int32")
            for index in range(new_tokens):
                logits = made.predict_on_batch({"source": sources, "targets": targets})
                targets[:, index] = np.argmax(logits[:, index], axis=-1)

        return call

    return make


def _keras_hub(new_tokens):
    import keras_hub

    backbone = keras_hub.models.BartBackbone(
        vocabulary_size=VOCABULARY_SIZE, num_layers=NUM_LAYERS, num_heads=4, hidden_dim=HIDDEN_DIM,
        intermediate_dim=4 * HIDDEN_DIM, dropout=0.0, max_sequence_length=2 * max(SOURCE_LENGTH, new_tokens),
    )  # fmt: skip
    language_model = keras_hub.models.BartSeq2SeqLM(backbone=backbone, preprocessor=None)
    compiled = []

    def make(model, search, batch):
        if model != "transformer":
            return None
        tokens = np.zeros((batch, new_tokens + 1), "int32")
        padding_mask = np.zeros(tokens.shape, bool)
        tokens[:, 0], padding_mask[:, 0] = 2, True
        inputs = {
            "encoder_token_ids": _sources(batch),
            "encoder_padding_mask": np.ones((batch, SOURCE_LENGTH), bool),
            "decoder_token_ids": tokens,
            "decoder_padding_mask": padding_mask,
        }

        def call():
            if compiled != [search]:  # a new sampler discards the compiled program
                sampler = keras_hub.samplers.BeamSampler(num_beams=NUM_BEAMS) if search == "beam" else "greedy"
                language_model.compile(sampler=sampler, jit_compile=True)
                compiled[:] = [search]
            language_model.generate(inputs, stop_token_ids=None)

        return call

    return make


def _transformers(new_tokens):
    import torch
    from transformers import BartConfig, BartForConditionalGeneration

    torch.set_num_threads(os.cpu_count())
    sizes = {"vocab_size": VOCABULARY_SIZE, "d_model": HIDDEN_DIM, "max_position_embeddings": 256}
    for side in ("encoder", "decoder"):
        sizes |= {f"{side}_layers": NUM_LAYERS, f"{side}_attention_heads": 4, f"{side}_ffn_dim": 4 * HIDDEN_DIM}
    language_model = BartForConditionalGeneration(BartConfig(**sizes)).eval()

    def make(model, search, batch):
        if model != "transformer":
            return None
        sources, beams = torch.tensor(_sources(batch)).long(), NUM_BEAMS if search == "beam" else 1

        def call():
            with torch.inference_mode():
                language_model.generate(
                    sources, max_new_tokens=new_tokens, min_new_tokens=new_tokens, num_beams=beams, do_sample=False
                )

        return call

    return make


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]))
