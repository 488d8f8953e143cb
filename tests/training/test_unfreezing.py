"""Layers that are frozen, and unfrozen at the beginning of an epoch: their updates, programs, and resumed training."""

import keras
import numpy as np
import pytest
from keras import ops
from toys import JAX, not_on_jax

import kerazoo as kz
from kerazoo.run import compiling
from kerazoo.run.options import TrainingOptions
from kerazoo.training import blocks
from kerazoo.training.weight_averages import moving_averages

X = np.random.default_rng(0).normal(size=(12, 3)).astype("float32")
Y = np.random.default_rng(1).normal(size=(12, 2)).astype("float32")


def model_of(eager=False, **options):
    """A compiled model of three layers: the first is trained from epoch 3 on, the second from epoch 2 on."""
    keras.utils.set_random_seed(3)
    model = keras.Sequential([keras.Input((3,)), *(keras.layers.Dense(n, "tanh") for n in (5, 7)),
                              keras.layers.Dense(2)])  # fmt: skip
    for layer in model.layers[:2]:
        kz.training.set_trainable(layer, False)
    unfreeze = kz.training.Unfreeze({3: model.layers[:1], 2: [model.layers[1]]})
    chosen = TrainingOptions(**{"learning_rate": 0.05, "schedule": "constant", "clip_norm": 0.0, **options})
    rates = compiling.schedule(chosen, 0, 100)
    model.compile(compiling.optimizer(chosen, rates), keras.losses.MeanSquaredError(), jit_compile=False,
                  run_eagerly=eager)  # fmt: skip
    unfreeze.build_optimizer(model)
    return model, unfreeze


def weights(model):
    return [np.array(ops.convert_to_numpy(v.value)) for v in model.weights]


class Weights(keras.callbacks.Callback):
    """Keeps the weights at the beginning of each epoch and at the end."""

    def __init__(self):
        super().__init__()
        self.found = []

    def on_epoch_begin(self, epoch, logs=None):
        self.found.append(weights(self.model))

    def on_train_end(self, logs=None):
        self.found.append(weights(self.model))


def train(model, unfreeze, epochs, **options):
    kept = Weights()
    kz.training.fit(model, (X, Y), epochs=epochs, batch_size=4, shuffle=False, callbacks=[unfreeze, kept],
                    jit_compile=False, **options)  # fmt: skip
    return kept.found


OPTIONS = [
    {"optimizer": "adam"},
    {"optimizer": "muon", "weight_decay": 0.1, "ema_momentum": 0.5},
    pytest.param({"optimizer": "adamw", "weight_decay": 0.1, "gradient_accumulation_steps": 2}, marks=not_on_jax),
    {"optimizer": "sgd", "layer_decay": 0.5},
]


@not_on_jax
@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: "-".join(map(str, options.values())))
def test_layers_change_from_their_epoch_on(options):
    found = train(*model_of(eager=options != {"optimizer": "adam"}, **options), 4)
    changed = [
        [not np.array_equal(a, b) for a, b in zip(one, two)][::2] for one, two in zip(found, found[1:])
    ]  # of the three kernels
    if "ema_momentum" in options:  # at the end the averages are in the place of the weights
        changed = changed[:-1]
    assert changed == [[False, False, True], [False, True, True], [True, True, True], [True] * 3][: len(changed)]


def adam(gradients, rate=0.05):
    """The updates of Adam for a list of gradients, from its paper."""
    m = v = 0.0
    for t, g in enumerate(gradients, 1):
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        yield -rate * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-7)


@pytest.mark.skipif(JAX, reason="TensorFlow applies gradients by hand")
@pytest.mark.parametrize("name", ["adam", "muon"])
def test_the_bias_of_averages_is_corrected_from_the_epoch_on(name):
    model, unfreeze = model_of(optimizer=name)
    bias, optimizer = model.layers[0].bias, model.optimizer
    gradients = np.random.default_rng(2).normal(size=(5, *bias.shape)).astype("float32")
    for _ in range(7):  # updates of the last layer alone
        optimizer.apply([ops.ones(v.shape) for v in model.trainable_variables], model.trainable_variables)
    unfreeze.on_epoch_begin(2)
    for gradient, expected in zip(gradients, adam(gradients)):
        before = ops.convert_to_numpy(bias.value)
        optimizer.apply([gradient], [bias])
        np.testing.assert_allclose(ops.convert_to_numpy(bias.value) - before, expected, rtol=1e-2, atol=1e-4)


@pytest.mark.parametrize("options", OPTIONS[1:3], ids=lambda options: "-".join(map(str, options.values())))
def test_a_resumed_training_is_the_same_to_the_bit(options, tmp_path):
    model, unfreeze = model_of(eager=True, **options)
    store = kz.training.CheckpointStore(tmp_path, keep=9)
    saver = kz.training.Checkpoints(store, "loss", "min", every_steps=2)
    kz.training.fit(model, (X, Y), epochs=4, batch_size=4, callbacks=[unfreeze, saver], jit_compile=False)
    whole = weights(model)
    steps = [store.layout(name)["state"] for name in store.names()]
    for name, state in zip(store.names(), steps):
        if state["step"] not in (4, 6):  # within epoch 2, and its end
            continue
        other, again = model_of(eager=True, **options)
        for part in (tmp_path / "part").glob("*"):
            part.rename(tmp_path / f"old-{part.name}")
        (tmp_path / "part").mkdir(exist_ok=True)
        (tmp_path / name).rename(tmp_path / "part" / name)
        resumed = kz.training.CheckpointStore(tmp_path / "part").restore(other)
        kz.training.fit(other, (X, Y), epochs=4, batch_size=4, callbacks=[again], resume=resumed, jit_compile=False)
        for one, two in zip(whole, weights(other)):
            np.testing.assert_array_equal(one, two)


def test_there_is_one_program_for_each_change(monkeypatch):
    made = []
    module = blocks.backend()
    program = module.BlockProgram
    monkeypatch.setattr(
        module, "BlockProgram", lambda model, kind, *rest: made.append(kind) or program(model, kind, *rest)
    )
    model, unfreeze = model_of(eager=True, optimizer="adam")
    train(model, unfreeze, 5, validation_data=(X, Y))
    assert made == ["train", "test", "train", "train"]


def test_averages_of_frozen_weights_are_the_weights():
    model, unfreeze = model_of(eager=True, optimizer="adam", ema_momentum=0.9)
    kz.training.fit(model, (X, Y), epochs=1, batch_size=4, callbacks=[unfreeze], jit_compile=False)
    for variable, average in moving_averages(model.optimizer)[:4]:
        np.testing.assert_array_equal(ops.convert_to_numpy(variable.value), ops.convert_to_numpy(average.value))


def test_frozen_layers_keep_their_statistics_and_a_part_can_be_trained():
    inner = keras.Sequential([keras.Input((3,)), keras.layers.BatchNormalization(), keras.layers.Dense(2)])
    model = keras.Sequential([keras.Input((3,)), inner])
    kz.training.set_trainable(inner, False)
    assert not model.trainable_variables
    kz.training.set_trainable(inner.layers[1], True)
    assert len(model.trainable_variables) == 2
    model.compile("sgd", "mse", jit_compile=False)
    model.fit(X, Y, verbose=0)
    np.testing.assert_array_equal(ops.convert_to_numpy(inner.layers[0].moving_mean.value), np.zeros(3))
