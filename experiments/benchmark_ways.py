"""The ways to decode that the benchmark compares: each is a process that is started with the name of its way.

It says that it is ready, and then answers each line on standard input, a case, with the seconds that one call took.
"""

import json
import os
import sys
import time

import numpy as np

VOCABULARY, WIDTH, LAYERS, SOURCE = 8192, 256, 4, 64
WAYS = {  # name: backend of Keras, module
    "kerazoo, TensorFlow": ("tensorflow", "kerazoo"),
    "kerazoo, JAX": ("jax", "kerazoo"),
    "kerazoo uncached, TensorFlow": ("tensorflow", "uncached"),
    "KerasHub, TensorFlow": ("tensorflow", "keras_hub"),
    "KerasHub, JAX": ("jax", "keras_hub"),
    "transformers, PyTorch": ("", "transformers"),
}
MARK = "@@"  # begins the lines of the protocol: some libraries write to standard output too


def timed(function):
    """Returns the seconds that a call takes."""
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


def work(way, new_tokens):
    """What a process of one way does."""
    try:
        module = WAYS[way][1]
        make = {"kerazoo": _kerazoo, "uncached": _uncached, "keras_hub": _keras_hub, "transformers": _transformers}
        make = make[module](new_tokens)
    except Exception as error:  # whatever is wrong with a peer, the others are measured
        print(MARK, f"{type(error).__name__}: {error}".splitlines()[0][:100], flush=True)
        return
    print(MARK, "ready", flush=True)
    calls = {}
    for case in map(str.strip, sys.stdin):
        if case not in calls:
            model, search, batch = case.split()
            calls[case] = make(model, search, int(batch))
        print(MARK, json.dumps(None if calls[case] is None else timed(calls[case])), flush=True)


def _sources(batch):
    return np.random.default_rng(0).integers(4, VOCABULARY - 1, (batch, SOURCE)).astype("int32")


def _ours(model):
    import keras

    import kerazoo as kz

    keras.utils.set_random_seed(0)
    sizes = {"source_vocabulary_size": VOCABULARY, "target_vocabulary_size": VOCABULARY}
    if model == "lstm":
        made = kz.models.LSTMSeq2Seq(embedding_dim=WIDTH, units=WIDTH, attention="multiplicative", **sizes)
    else:
        made = kz.models.TransformerSeq2Seq(
            num_encoder_layers=LAYERS, num_decoder_layers=LAYERS, hidden_dim=WIDTH, num_heads=4,
            intermediate_dim=4 * WIDTH, norm="pre", share_embeddings=False, tie_output=False, **sizes,
        )  # fmt: skip
    made.build_from_inputs()
    return made


def _kerazoo(new_tokens):
    models = {}

    def make(model, search, batch):
        made, sources = models.setdefault(model, _ours(model)), _sources(batch)
        options = {"width": 4} if search == "beam" else {}
        # No answer ends before its last place, so that all ways write the same number of tokens.
        options["forbidden"] = made.end_id
        return lambda: made.generate(sources, search=search, max_length=new_tokens, jit=True, **options)

    return make


def _uncached(new_tokens):
    def make(model, search, batch):
        if search != "greedy":
            return None
        made, sources = _ours(model), _sources(batch)

        def call():
            targets = np.zeros((batch, new_tokens), "int32")
            for place in range(new_tokens):
                logits = made.predict_on_batch({"source": sources, "targets": targets})
                targets[:, place] = np.argmax(logits[:, place], axis=-1)

        return call

    return make


def _keras_hub(new_tokens):
    import keras_hub

    backbone = keras_hub.models.BartBackbone(
        vocabulary_size=VOCABULARY, num_layers=LAYERS, num_heads=4, hidden_dim=WIDTH, intermediate_dim=4 * WIDTH,
        dropout=0.0, max_sequence_length=2 * max(SOURCE, new_tokens),
    )  # fmt: skip
    writer = keras_hub.models.BartSeq2SeqLM(backbone=backbone, preprocessor=None)
    compiled = []

    def make(model, search, batch):
        if model != "transformer":
            return None
        written = np.zeros((batch, new_tokens + 1), "int32")
        real = np.zeros(written.shape, bool)
        written[:, 0], real[:, 0] = 2, True
        inputs = {
            "encoder_token_ids": _sources(batch),
            "encoder_padding_mask": np.ones((batch, SOURCE), bool),
            "decoder_token_ids": written,
            "decoder_padding_mask": real,
        }

        def call():
            if compiled != [search]:  # a new sampler drops what was compiled
                sampler = keras_hub.samplers.BeamSampler(num_beams=4) if search == "beam" else "greedy"
                writer.compile(sampler=sampler, jit_compile=True)
                compiled[:] = [search]
            writer.generate(inputs, stop_token_ids=None)

        return call

    return make


def _transformers(new_tokens):
    import torch
    from transformers import BartConfig, BartForConditionalGeneration

    torch.set_num_threads(os.cpu_count())
    sizes = {"vocab_size": VOCABULARY, "d_model": WIDTH, "max_position_embeddings": 256}
    for side in ("encoder", "decoder"):
        sizes |= {f"{side}_layers": LAYERS, f"{side}_attention_heads": 4, f"{side}_ffn_dim": 4 * WIDTH}
    writer = BartForConditionalGeneration(BartConfig(**sizes)).eval()

    def make(model, search, batch):
        if model != "transformer":
            return None
        sources, beams = torch.tensor(_sources(batch)).long(), 4 if search == "beam" else 1

        def call():
            with torch.inference_mode():
                writer.generate(
                    sources, max_new_tokens=new_tokens, min_new_tokens=new_tokens, num_beams=beams, do_sample=False
                )

        return call

    return make


if __name__ == "__main__":
    work(sys.argv[1], int(sys.argv[2]))
