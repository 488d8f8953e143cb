import errno
import json
import os
import shutil

import keras
import numpy as np
import pytest
from keras import ops

from kerazoo import _checks
from kerazoo.training import CheckpointStore


def model(units=5, optimizer="adam", seed=1, dtype=None):
    keras.utils.set_random_seed(seed)
    layers = [keras.layers.Dense(units, dtype=dtype), keras.layers.Dropout(0.5), keras.layers.Dense(2, dtype=dtype)]
    made = keras.Sequential([keras.Input((3,)), *layers])
    made.compile(optimizer, "mse")
    made.optimizer.build(made.trainable_variables)
    return made


def values(made):
    variables = [*made.variables, *made.optimizer.variables]
    return [np.array(ops.convert_to_numpy(variable.value)).astype("float32") for variable in variables]


def scramble(made, by=1):
    for variable in [*made.variables, *made.optimizer.variables]:
        variable.assign(variable + by)


def same(one, two):
    return all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))


@pytest.fixture
def store(tmp_path):
    return CheckpointStore(tmp_path / "run" / "checkpoints")


def test_restores_every_variable_and_the_state(store):
    made = model()
    scramble(made)
    path = store.save(made, {"step": 7, "epoch": 1, "history": [{"loss": np.float32(0.5)}]})
    assert path.name == "step-000000007"
    assert sorted(os.listdir(path)) == ["manifest.json", "model.npz", "optimizer.npz", "state.json"]
    other = model(seed=2)
    state = store.restore(other)
    assert state == {"step": 7, "epoch": 1, "history": [{"loss": 0.5}], "checkpoint": "step-000000007"}
    assert same(values(other), values(made))
    assert any("seed_generator" in variable.path for variable in made.variables)


def test_a_model_without_optimizer_takes_the_weights_alone(store):
    made = model()
    store.save(made, {"step": 1})
    other = keras.Sequential(
        [keras.Input((3,)), keras.layers.Dense(5), keras.layers.Dropout(0.1), keras.layers.Dense(2)]
    )
    store.restore(other)
    assert same(other.get_weights(), made.get_weights())


def test_bfloat16_and_float16_variables(store):
    for dtype in ("bfloat16", "float16"):
        made = model(dtype=dtype)
        store.save(made, {"step": 1})
        other = model(dtype=dtype, seed=2)
        store.restore(other)
        assert same(values(other), values(made))


def test_keeps_the_newest_and_the_best(store):
    made = model()
    for step in range(1, 7):
        store.save(made, {"step": step}, best=step == 2)
    store.save(made, {"step": 6})
    assert store.names() == ["step-000000002", "step-000000006", "step-000000006-2"]
    assert store.best() == "step-000000002"
    assert store.restore(made, which="best")["step"] == 2
    assert store.restore(made)["checkpoint"] == "step-000000006-2"


def test_without_a_best_one_the_last_is_taken(store):
    made = model()
    store.save(made, {"step": 1})
    assert store.best() is None
    assert store.restore(made, which="best")["step"] == 1


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut(path):
    path.write_bytes(path.read_bytes()[:-7])


@pytest.mark.parametrize("file", ["model.npz", "optimizer.npz", "state.json", "manifest.json"])
@pytest.mark.parametrize("damage", [flip, cut, os.unlink])
def test_damage_is_found_and_the_older_one_used(store, damage, file, capsys):
    made = model()
    store.save(made, {"step": 1})
    kept = values(made)
    scramble(made)
    newest = store.save(made, {"step": 2})
    damage(newest / file)
    other = model(seed=2)
    assert store.restore(other)["step"] == 1
    assert same(values(other), kept)
    said = capsys.readouterr().err
    assert f"{newest} is damaged (" in said and said.endswith("; step-000000001 is used instead.\n")


def test_a_damaged_best_one_is_replaced_by_the_newest(store, capsys):
    made = model()
    for step in (1, 2, 3):
        path = store.save(made, {"step": step}, best=step == 1)
    flip(store.directory / "step-000000001" / "model.npz")
    assert store.restore(made, which="best")["checkpoint"] == path.name
    assert "step-000000001 is damaged (the SHA-256 of model.npz" in capsys.readouterr().err


def test_no_intact_checkpoint_is_an_error(store):
    with pytest.raises(_checks.CheckpointError, match=r"checkpoints: there is no checkpoint here"):
        store.restore(model())
    flip(store.save(model(), {"step": 1}) / "model.npz")
    with pytest.raises(_checks.CheckpointError, match=r"step-000000001 is damaged \(the SHA-256 of model.npz differs"):
        store.restore(model())


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (
            lambda: model(units=7),
            r"does not fit the model: variable 0 of 5 is saved as .*kernel \(3, 5\) float32; .*kernel \(3, 7\) float32",
        ),
        (lambda: model(optimizer="sgd"), r"saved with the optimizer Adam; the model has SGD"),
        (lambda: model(dtype="float16"), r"kernel \(3, 5\) float32; the model has .*kernel \(3, 5\) float16"),
    ],
)
def test_another_model_is_refused_and_left_alone(store, other, message):
    store.save(model(), {"step": 1})
    other = other()
    before = values(other)
    with pytest.raises(_checks.CheckpointError, match=message):
        store.restore(other)
    assert same(values(other), before)


def test_more_variables_or_other_names_are_refused(store):
    store.save(model(), {"step": 1})
    longer = keras.Sequential([model(), keras.layers.Dense(2)])
    longer.build((None, 3))
    with pytest.raises(
        _checks.CheckpointError, match=r"variable 5 of 5 is saved as none; the model has .*kernel \(2, 2\)"
    ):
        store.restore(longer)
    renamed = keras.Sequential(
        [keras.Input((3,)), keras.layers.EinsumDense("ab,bc->ac", 5, bias_axes="c", name="other")]
    )
    with pytest.raises(
        _checks.CheckpointError, match=r"saved as .*dense.*kernel \(3, 5\).* has .*other/kernel \(3, 5\)"
    ):
        store.restore(renamed)


def test_unbuilt_models_and_unknown_choices_are_refused(store):
    with pytest.raises(ValueError, match=r"the model must be built first; got 'raw'"):
        store.restore(keras.Sequential([keras.layers.Dense(1)], name="raw"))
    with pytest.raises(ValueError, match=r"`which` must be one of 'last', 'best'; got which='first'"):
        store.restore(model(), which="first")
    with pytest.raises(ValueError, match=r"CheckpointStore: `keep` must be an integer above 0; got keep=0"):
        CheckpointStore("anywhere", keep=0)


class Killed(BaseException):
    pass


def fail_at(monkeypatch, name, count, fault):
    """Lets `os.<name>` fail at its call number `count`, counted from 0."""
    original, calls = getattr(os, name), []

    def call(*arguments, **options):
        calls.append(arguments)
        if len(calls) == count + 1:
            raise fault
        return original(*arguments, **options)

    monkeypatch.setattr(os, name, call)


@pytest.mark.parametrize(("name", "count"), [("fsync", 0), ("fsync", 2), ("fsync", 4), ("replace", 0)])
def test_a_kill_while_saving_leaves_the_old_one(store, monkeypatch, name, count):
    made = model()
    store.save(made, {"step": 1})
    kept = values(made)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", lambda *arguments, **options: None)  # a killed process tidies nothing up
        fail_at(patch, name, count, Killed())
        scramble(made)
        with pytest.raises(Killed):
            store.save(made, {"step": 2})
    assert any(entry.startswith(".step-000000002.") and entry.endswith(".tmp") for entry in os.listdir(store.directory))
    assert store.names() == ["step-000000001"]
    assert store.restore(made)["step"] == 1
    assert same(values(made), kept)
    store.save(made, {"step": 3})
    assert not any(entry.startswith(".") for entry in os.listdir(store.directory))


@pytest.mark.parametrize(("name", "count"), [("fsync", 1), ("replace", 0)])
def test_a_full_disk_is_reported_and_leaves_the_old_one(store, monkeypatch, name, count):
    made = model()
    store.save(made, {"step": 1})
    with monkeypatch.context() as patch:
        fail_at(patch, name, count, OSError(errno.ENOSPC, "No space left on device"))
        with pytest.raises(_checks.SetupError, match=r"step-000000002: cannot be written: No space left"):
            store.save(made, {"step": 2})
    assert os.listdir(store.directory) == ["step-000000001"]
    assert store.restore(made)["step"] == 1


def test_a_kill_while_removing_old_ones_leaves_no_half_checkpoint(store, monkeypatch):
    made = model()
    for step in (1, 2):
        store.save(made, {"step": step})
    with monkeypatch.context() as patch:

        def die(*arguments, **options):
            raise Killed

        patch.setattr(shutil, "rmtree", die)
        with pytest.raises(Killed):
            store.save(made, {"step": 3})
    assert store.names() == ["step-000000002", "step-000000003"]
    assert store.restore(made)["step"] == 3


def test_a_checkpoint_of_another_version_is_not_read(store):
    path = store.save(model(), {"step": 1}) / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "version": 99}))
    with pytest.raises(_checks.CheckpointError, match=r"made by version 99, this one reads 1"):
        store.restore(model())
