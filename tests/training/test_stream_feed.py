"""Training on an iterable of batches, where Keras' own train function does the work."""

import keras
import numpy as np
import pytest

from kerazoo.training import fit

TENSORFLOW = keras.backend.backend() == "tensorflow"


def batches(count=7, seed=0):
    rng = np.random.default_rng(seed)
    inputs = rng.random((count, 3, 5)).astype("float32")
    return [(one, one.sum(-1, keepdims=True)) for one in inputs]


def model(seed=1, steps=1):
    keras.utils.set_random_seed(seed)
    model = keras.Sequential([keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.1), "mse", steps_per_execution=steps)
    return model


class Record(keras.callbacks.Callback):
    def on_train_begin(self, logs=None):
        self.steps = []

    def on_train_batch_begin(self, batch, logs=None):
        self.begin = batch

    def on_train_batch_end(self, batch, logs=None):
        self.steps.append((self.params["epoch"], self.begin, batch, self.params["step"]))


def trained(data, epochs=1):
    expected = model()
    for epoch in range(epochs):
        for inputs, targets in data(epoch):
            expected.train_on_batch(inputs, targets)
    return expected.get_weights()


def check(found, expected):
    for one, two in zip(found.get_weights(), expected, strict=True):
        np.testing.assert_allclose(one, two, 1e-5, 1e-6)


@pytest.mark.parametrize("steps", [1, 3])
def test_list_of_batches(steps):
    record, found = Record(), model(steps=steps)
    history = fit(found, batches(), epochs=2, callbacks=[record], steps_per_execution=steps).history
    check(found, trained(lambda epoch: batches(), 2))
    firsts = range(0, 7, steps)
    once = [(first, min(first + steps, 7) - 1) for first in firsts]
    expected = [(e, first, last, 7 * e + last + 1) for e in range(2) for first, last in once]
    assert record.steps == expected
    assert len(history["loss"]) == 2
    assert found.train_function is None


def test_every_epoch_may_have_its_own_batches():
    found = model()
    asked = []

    def data(epoch):
        asked.append(epoch)
        return batches(3 + epoch, seed=epoch)

    record = Record()
    fit(found, data, epochs=3, callbacks=[record], resume={"epoch": 1, "position": 2, "step": 5}, steps_per_execution=1)
    assert sorted(set(asked)) == [1, 2]
    assert [step[:2] for step in record.steps] == [(1, 2), (1, 3), (2, 0), (2, 1), (2, 2), (2, 3), (2, 4)]
    assert record.steps[-1][-1] == 5 + 2 + 5


@pytest.mark.parametrize("steps", [1, 3])
def test_tf_data(steps):
    tf = pytest.importorskip("tensorflow")

    def data(epoch):
        made = batches(7, seed=epoch)
        return tf.data.Dataset.from_tensor_slices(tuple(np.stack(part) for part in zip(*made)))

    record, found = Record(), model(steps=steps)
    fit(
        found,
        data,
        epochs=2,
        callbacks=[record],
        validation_data=data(0),
        resume={"position": 1},
        steps_per_execution=steps,
    )
    expected = model()
    for inputs, targets in [*batches(7, seed=0)[1:], *batches(7, seed=1)]:
        expected.train_on_batch(inputs, targets)
    check(found, expected.get_weights())
    assert [step[0] for step in record.steps] == [0] * -(-6 // steps) + [1] * -(-7 // steps)


def test_validation_and_early_stopping():
    stop = keras.callbacks.EarlyStopping(monitor="val_loss", patience=0, mode="max")
    history = fit(model(), batches(), epochs=9, callbacks=[stop], validation_data=batches(2)[0]).history
    assert len(history["val_loss"]) == 2


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        ((pair for pair in batches()), TypeError, r"an iterable of batches that can be read again.*generator"),
        (3, TypeError, r"`data` must be a corpus, an iterable .*got int"),
        ([], ValueError, r"fit: the data of epoch 0 holds no batch"),
    ],
)
def test_bad_data_is_refused(data, error, message):
    with pytest.raises(error, match=message):
        fit(model(), data)
