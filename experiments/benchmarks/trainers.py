"""The systems whose training is compared, each in a process of its own that trains one model.

A request runs one epoch; the reply is the seconds of the epoch and the most memory of the process so far.
"""

import queue
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from experiments.benchmarks import workers
from experiments.benchmarks.timing import epoch_timer
from experiments.benchmarks.training_cases import CASES, Case

SYSTEMS = {  # name: backend of Keras, library
    "kerazoo, TensorFlow": ("tensorflow", "kerazoo"),
    "kerazoo, JAX": ("jax", "kerazoo"),
    "kerazoo, TensorFlow, bfloat16 without XLA": ("tensorflow", "kerazoo_bfloat16_without_xla"),
    "kerazoo, JAX, bfloat16": ("jax", "kerazoo_bfloat16"),
    "Keras fit, TensorFlow": ("tensorflow", "keras"),
    "Keras fit of 25 steps a call, TensorFlow": ("tensorflow", "keras_25"),
    "Keras fit, JAX": ("jax", "keras"),
    "Keras fit, JAX, bfloat16": ("jax", "keras_bfloat16"),
    "KerasHub layers, TensorFlow": ("tensorflow", "keras_hub"),
    "PyTorch": ("", "torch"),
    "PyTorch, compiled": ("", "torch_compiled"),
    "PyTorch, bfloat16": ("", "torch_bfloat16"),
    "PyTorch, compiled, bfloat16": ("", "torch_compiled_bfloat16"),
}
RATE, FOREVER = 1e-3, 10**6


def serve(system: str, case: str) -> None:
    """Runs the process of one system until its standard input ends."""
    make = {
        "kerazoo": _kerazoo,
        "kerazoo_bfloat16": _in_bfloat16(_kerazoo),
        # XLA computes such products in float32 on a CPU.
        "kerazoo_bfloat16_without_xla": _in_bfloat16(lambda case: _kerazoo(case, jit_compile=False)),
        "keras": lambda case: _keras(_plain_model(case), case),
        "keras_bfloat16": _in_bfloat16(lambda case: _keras(_plain_model(case), case)),
        "keras_25": lambda case: _keras(_plain_model(case), case, steps_per_execution=25),
        "keras_hub": lambda case: _keras(_keras_hub_model(case), case),
        "torch": _torch,
        "torch_compiled": lambda case: _torch(case, compiled=True),
        "torch_bfloat16": lambda case: _torch(case, bfloat16=True),
        "torch_compiled_bfloat16": lambda case: _torch(case, compiled=True, bfloat16=True),
    }[SYSTEMS[system][1]]
    workers.serve(lambda: _epochs(make(CASES[case])))


def _epochs(train: Callable[[Any], object]) -> Callable[[str], dict[str, float]]:
    """Starts a training in a thread, and returns a function that lets it run one epoch."""
    allowed, taken = threading.Semaphore(0), queue.Queue()

    class Timer:
        """What `_torch` calls in place of a callback of Keras."""

        def on_epoch_begin(self):
            allowed.acquire()
            self.started = time.perf_counter()

        def on_epoch_end(self):
            taken.put(time.perf_counter() - self.started)

    def run():
        try:
            if SYSTEMS[sys.argv[1]][0]:
                timer = epoch_timer(allowed.acquire, lambda: taken.put(timer.seconds[-1]))
                train(timer)
            else:
                train(Timer())
        except Exception as error:
            taken.put(f"{type(error).__name__}: {error}".splitlines()[0][:100])

    threading.Thread(target=run, daemon=True).start()

    def reply(_request):
        allowed.release()
        seconds = taken.get()
        return {"error": seconds} if isinstance(seconds, str) else {"seconds": seconds, "peak_mib": workers.peak_mib()}

    return reply


def _compile(model: Any, **options: Any) -> Any:
    import keras

    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(RATE), loss, **options)
    return model


def _inputs(case: Case, arrays: dict[str, Any]) -> Any:
    """Returns the inputs of a model of Keras layers: the source, and the targets shifted where it has a decoder."""
    import numpy as np

    if case.kind == "dense":
        return arrays["source"].astype("float32") / 255
    shifted = np.pad(arrays["targets"][:, :-1], ((0, 0), (1, 0)), constant_values=1)
    return [arrays["source"], shifted] if case.source_length else shifted


def _in_bfloat16(make: Callable[[Case], Callable]) -> Callable[[Case], Callable]:
    def made(case):
        import keras

        keras.config.set_dtype_policy("mixed_bfloat16")
        return make(case)

    return made


def _kerazoo(case: Case, jit_compile: bool = True) -> Callable:
    import keras

    import kerazoo as kz

    sizes = {"source_vocabulary_size": case.vocabulary_size, "target_vocabulary_size": case.vocabulary_size}
    shared = {"hidden_dim": case.hidden_dim, "num_heads": case.num_heads, "intermediate_dim": 4 * case.hidden_dim}
    layers = {"num_encoder_layers": case.num_layers, "num_decoder_layers": case.num_layers}
    shared |= {"dropout": 0.0, "norm": "pre", "activation": "relu"}
    if case.kind == "dense":
        model = _plain_model(case)
    elif case.kind == "decoder":
        model = kz.models.TransformerLM(case.vocabulary_size, case.num_layers, tie_output=False, **shared)
    elif case.kind == "encoder-decoder":
        model = kz.models.TransformerSeq2Seq(**sizes, **layers, share_embeddings=True, tie_output=True, **shared)
    else:
        model = kz.models.LSTMSeq2Seq(embedding_dim=case.hidden_dim, units=case.units, **sizes)
    _compile(model)
    corpus = kz.data.Corpus(case.arrays())
    plan = kz.data.Plan.of(corpus, batch_size=case.batch_size)

    def batch(features, valid):
        weights = keras.ops.cast(valid, "float32")
        if case.kind == "dense":
            return keras.ops.cast(features["source"], "float32") / 255, features["targets"], weights
        inputs = {name: features[name] for name in ("source", "targets") if name in features}
        return inputs if case.source_length else features["targets"], features["targets"], weights[:, None]

    options = {"epochs": FOREVER, "jit_compile": jit_compile}
    return lambda timer: kz.training.fit(model, corpus, batch, plan, callbacks=[timer], **options)


def _keras(model: Any, case: Case, **options: Any) -> Callable:
    arrays = case.arrays()
    inputs = _inputs(case, arrays)
    _compile(model, **options)
    options = {"batch_size": case.batch_size, "epochs": FOREVER, "verbose": 0}
    return lambda timer: model.fit(inputs, arrays["targets"], callbacks=[timer], **options)


def _plain_model(case: Case) -> Any:
    """Returns the model made of the layers of Keras alone."""
    import keras
    from keras import layers

    if case.kind == "dense":
        return keras.Sequential([keras.Input((784,)), layers.Dense(128, "relu"), layers.Dense(10)])
    V, D = case.vocabulary_size, case.hidden_dim
    source, shifted = keras.Input((case.source_length,)), keras.Input((case.target_length,))
    if case.kind == "lstm":
        _, *state = layers.LSTM(case.units, return_state=True)(layers.Embedding(V, D)(source))
        x = layers.LSTM(case.units, return_sequences=True)(layers.Embedding(V, D)(shifted), initial_state=state)
        return keras.Model([source, shifted], layers.Dense(V)(x))

    def attend(x, other=None, causal=False):
        y = layers.LayerNormalization()(x)
        attention = layers.MultiHeadAttention(case.num_heads, D // case.num_heads)
        return x + attention(y, y if other is None else other, use_causal_mask=causal)

    def feed_forward(x):
        return x + layers.Dense(D)(layers.Dense(4 * D, "relu")(layers.LayerNormalization()(x)))

    tied = case.kind == "encoder-decoder"
    table = layers.ReversibleEmbedding(V, D) if tied else layers.Embedding(V, D)
    encoded = None
    if tied:
        encoded = _positions(table(source))
        for _ in range(case.num_layers):
            encoded = feed_forward(attend(encoded))
        encoded = layers.LayerNormalization()(encoded)
    x = _positions(table(shifted))
    for _ in range(case.num_layers):
        x = attend(x, causal=True)
        x = feed_forward(attend(x, encoded) if tied else x)
    x = layers.LayerNormalization()(x)
    logits = table(x, reverse=True) if tied else layers.Dense(V)(x)
    return keras.Model([source, shifted] if tied else shifted, logits)


def _positions(x: Any) -> Any:
    """Adds learned positions to embedded tokens."""
    import keras

    numbers = keras.ops.arange(x.shape[1])
    return x + keras.layers.Embedding(x.shape[1], x.shape[2])(numbers)[None]


def _keras_hub_model(case: Case) -> Any:
    """Returns the Transformer made of the layers of KerasHub."""
    import keras
    import keras_hub

    if not case.num_layers:
        raise ValueError("KerasHub has no layers of this kind")
    hub, V, D = keras_hub.layers, case.vocabulary_size, case.hidden_dim
    tied = case.kind == "encoder-decoder"
    source, shifted = (
        keras.Input((case.source_length,), dtype="int32"),
        keras.Input((case.target_length,), dtype="int32"),
    )
    table = hub.TokenAndPositionEmbedding(V, max(case.source_length, case.target_length), D, tie_weights=tied)
    encoded = None
    if tied:
        encoded = table(source)
        for _ in range(case.num_layers):
            encoded = hub.TransformerEncoder(4 * D, case.num_heads, normalize_first=True)(encoded)
        encoded = keras.layers.LayerNormalization()(encoded)
    x = table(shifted)
    for _ in range(case.num_layers):
        x = hub.TransformerDecoder(4 * D, case.num_heads, normalize_first=True)(x, encoded)
    x = keras.layers.LayerNormalization()(x)
    logits = table.token_embedding(x, reverse=True) if tied else keras.layers.Dense(V)(x)
    return keras.Model([source, shifted] if tied else shifted, logits)


def _torch(case: Case, compiled: bool = False, bfloat16: bool = False) -> Callable:
    import torch

    device = workers.torch_device()
    model = _torch_model(case)
    optimizer = torch.optim.Adam(model.parameters(), RATE, fused=True)
    arrays = case.arrays()
    inputs = _inputs(case, arrays)
    inputs = [torch.from_numpy(each).to(device) for each in (inputs if isinstance(inputs, list) else [inputs])]
    inputs = [each if each.is_floating_point() else each.long() for each in inputs]
    targets = torch.from_numpy(arrays["targets"]).to(device).long()

    def step(rows):
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device, torch.bfloat16, enabled=bfloat16):
            logits = model(*(each[rows] for each in inputs))
            loss = torch.nn.functional.cross_entropy(logits.flatten(0, -2), targets[rows].flatten())
        loss.backward()
        optimizer.step()
        return loss

    if compiled:
        model = torch.compile(model)

    def train(timer):
        while True:
            timer.on_epoch_begin()
            losses = [step(rows) for rows in torch.randperm(len(targets), device=device).split(case.batch_size)]
            losses[-1].item()
            timer.on_epoch_end()

    return train


def _torch_model(case: Case) -> Any:
    """Returns the model made of the layers of PyTorch."""
    import torch
    from torch import nn

    V, D, S, T = case.vocabulary_size, case.hidden_dim, case.source_length, case.target_length
    if case.kind == "dense":
        return nn.Sequential(nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10))
    causal = torch.nn.Transformer.generate_square_subsequent_mask(T)
    options = {"dim_feedforward": 4 * D, "dropout": 0.0, "norm_first": True, "batch_first": True}

    class Recurrent(nn.Module):
        def __init__(self):
            super().__init__()
            self.source, self.shifted = nn.Embedding(V, D), nn.Embedding(V, D)
            self.encoder = nn.LSTM(D, case.units, batch_first=True)
            self.decoder = nn.LSTM(D, case.units, batch_first=True)
            self.head = nn.Linear(case.units, V)

        def forward(self, source, shifted):
            _, state = self.encoder(self.source(source))
            return self.head(self.decoder(self.shifted(shifted), state)[0])

    class Decoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.table, self.positions = nn.Embedding(V, D), nn.Embedding(T, D)
            blocks = nn.TransformerEncoderLayer(D, case.num_heads, **options)
            self.blocks = nn.TransformerEncoder(blocks, case.num_layers, nn.LayerNorm(D), enable_nested_tensor=False)
            self.head = nn.Linear(D, V)

        def forward(self, shifted):
            x = self.table(shifted) + self.positions.weight
            return self.head(self.blocks(x, mask=causal, is_causal=True))

    class EncoderDecoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.table = nn.Embedding(V, D)
            self.source, self.shifted = nn.Embedding(S, D), nn.Embedding(T, D)
            self.blocks = nn.Transformer(D, case.num_heads, case.num_layers, case.num_layers, **options)

        def forward(self, source, shifted):
            source, x = self.table(source) + self.source.weight, self.table(shifted) + self.shifted.weight
            x = self.blocks(source, x, tgt_mask=causal, tgt_is_causal=True)
            return nn.functional.linear(x, self.table.weight)

    return {"lstm": Recurrent, "decoder": Decoder, "encoder-decoder": EncoderDecoder}[case.kind]()


if __name__ == "__main__":
    serve(sys.argv[1], sys.argv[2])
