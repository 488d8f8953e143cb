"""The mean of the weights of several checkpoints."""

import keras
import numpy as np
import pytest
from keras import ops

from kerazoo import _checks
from kerazoo.training import CheckpointStore
from kerazoo.transfer import average_checkpoints


def model(units=5):
    keras.utils.set_random_seed(1)
    return keras.Sequential([keras.Input((3,)), keras.layers.Dense(units), keras.layers.Dropout(0.5)])


def values(made):
    return [np.array(ops.convert_to_numpy(variable.value)) for variable in made.variables]


def trained(store, made, epochs):
    """Saves a state of other weights after each epoch, and one in the middle of it; returns those of the epochs."""
    random, after = np.random.default_rng(0), []
    for epoch in epochs:
        for position in (3, 0):
            for variable in made.variables:
                if "float" in str(variable.dtype):
                    variable.assign(random.normal(size=variable.shape))
            step = 7 * epoch - position
            store.save(made, {"step": step, "epoch": epoch - bool(position), "position": position}, best=epoch == 1)
        after.append(values(made))
    return after


def test_the_weights_are_the_mean_of_the_last_epochs(tmp_path):
    store, made = CheckpointStore(tmp_path, keep_epochs=3), model()
    after = trained(store, made, range(1, 6))
    other = model()
    state = average_checkpoints(other, CheckpointStore(tmp_path), 3)
    assert state["checkpoints"] == ["step-000000021", "step-000000028", "step-000000035"] and state["epoch"] == 5
    for index, (variable, found) in enumerate(zip(other.variables, values(other), strict=True)):
        saved = [np.asarray(epoch[index], "float64") for epoch in after[-3:]]
        expected = np.mean(saved, axis=0) if "float" in str(variable.dtype) else after[-1][index]
        np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert any("seed" in variable.path for variable in other.variables)


def test_states_of_the_last_epochs_are_kept_beside_the_best_and_the_newest(tmp_path):
    store = CheckpointStore(tmp_path, keep_epochs=3)
    trained(store, model(), range(1, 6))
    assert store.names() == [f"step-{step:09d}" for step in (7, 21, 28, 32, 35)]
    plain = CheckpointStore(tmp_path / "plain")
    trained(plain, model(), range(1, 6))
    assert plain.names() == [f"step-{step:09d}" for step in (7, 32, 35)]


def test_a_damaged_or_other_checkpoint_is_named(tmp_path):
    store, made = CheckpointStore(tmp_path, keep_epochs=2), model()
    with pytest.raises(_checks.CheckpointError, match="no checkpoint of a whole epoch"):
        average_checkpoints(made, store, 2)
    trained(store, made, (1, 2))
    with pytest.raises(_checks.CheckpointError, match=r"step-000000007: does not fit the model"):
        average_checkpoints(model(units=2), store, 2)
    file = tmp_path / "step-000000007" / "model.npz"
    content = bytearray(file.read_bytes())
    content[-100] ^= 1
    file.write_bytes(bytes(content))
    before = values(made)
    with pytest.raises(_checks.CheckpointError, match=r"step-000000007 is damaged"):
        average_checkpoints(made, store, 2)
    assert all(np.array_equal(a, b) for a, b in zip(before, values(made)))


def test_a_model_must_be_built(tmp_path):
    with pytest.raises(ValueError, match="must be built"):
        average_checkpoints(keras.Sequential([keras.layers.Dense(2)]), CheckpointStore(tmp_path), 1)
