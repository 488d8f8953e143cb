import errno
import hashlib
import io
import json
import math
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
    with pytest.raises(_checks.CheckpointError, match=r"there is no checkpoint here\. Copy the whole run again, or"):
        store.restore(model())
    flip(store.save(model(), {"step": 1}) / "model.npz")
    with pytest.raises(_checks.CheckpointError, match=r"step-000000001 is damaged \(the SHA-256 of model.npz differs"):
        store.restore(model())


class Counter(keras.layers.Layer):
    """A whole number, as the states of random numbers are."""

    def __init__(self, dtype, value=0):
        super().__init__()
        self.number = self.add_weight(shape=(1,), dtype=dtype, initializer="zeros", trainable=False, name="number")
        self.number.assign([value])

    def call(self, x):
        return x + ops.cast(self.number, x.dtype)


def test_whole_numbers_of_another_width_are_read_or_refused(store):
    """The other backend has the states of random numbers in another dtype."""
    store.save(keras.Sequential([keras.Input((1,)), Counter("int32", 200)]), {"step": 1})
    other = keras.Sequential([keras.Input((1,)), Counter("uint32")])
    store.restore(other)
    assert other.layers[0].number.dtype == "uint32" and int(ops.convert_to_numpy(other.layers[0].number)[0]) == 200
    few_bits = keras.Sequential([keras.Input((1,)), Counter("uint8")])
    with pytest.raises(_checks.CheckpointError, match=r"number \(1,\) int32; .*number \(1,\) uint8"):
        store.restore(few_bits)
    store.save(keras.Sequential([keras.Input((1,)), Counter("int32", -3)]), {"step": 2})
    with pytest.raises(_checks.CheckpointError, match=r"number was saved as int32 with -3, which uint32 cannot hold\."):
        store.restore(other)
    assert int(ops.convert_to_numpy(other.layers[0].number)[0]) == 200


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
    with pytest.raises(_checks.CheckpointError, match=r"made by version 99, this one reads 2"):
        store.restore(model())


def rewrite(folder, name, content):
    """Replaces a file of a checkpoint, and its SHA-256, as somebody could who wants to do harm."""
    (folder / name).write_bytes(content)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["sha256"][name] = hashlib.sha256(content).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))


def compressed(content):
    """The same arrays in a compressed file; the first one also has far more values."""
    arrays = dict(np.load(io.BytesIO(content)))
    arrays["00000"] = np.zeros(10_000_000, "float32")
    made = io.BytesIO()
    np.savez_compressed(made, **arrays)
    return made.getvalue()


def larger(content):
    arrays = dict(np.load(io.BytesIO(content)))
    arrays["00000"] = np.zeros((4, 5), "float32")
    made = io.BytesIO()
    np.savez(made, **arrays)
    return made.getvalue()


@pytest.mark.parametrize("attack", [compressed, larger, lambda content: b"PK" + content[2:40], lambda _: b""])
def test_weights_of_another_size_than_stated_are_damage(store, attack):
    path = store.save(model(), {"step": 1})
    rewrite(path, "model.npz", attack((path / "model.npz").read_bytes()))
    with pytest.raises(_checks.CheckpointError, match=r"step-000000001 is damaged"):
        store.restore(model())


@pytest.mark.parametrize(
    "content",
    [
        b"[" * 100_000,
        b"{}",
        b"[]",
        b"\xff",
        b'{"state": 3}',
        b'{"state": {"step": "1"}}',
        b'{"state": {"history": [3]}}',
        b'{"state": {}, "optimizers": {}, "layouts": {"model": [{"name": 1}]}}',
        b'{"state": {}, "optimizers": {"optimizer": {"trains": [99], "class": "Adam"}}, "layouts": {"model": []}}',
    ],
)
@pytest.mark.parametrize("file", ["state.json", "manifest.json"])
def test_a_state_of_any_form_is_damage_and_no_crash(store, file, content):
    path = store.save(model(), {"step": 1})
    rewrite(path, "state.json", content)
    if file == "manifest.json":
        (path / file).write_bytes(content)
    with pytest.raises(_checks.CheckpointError):
        store.restore(model())
    assert store.best() is None


def test_links_and_pipes_are_damage(store, tmp_path):
    path = store.save(model(), {"step": 1})
    os.rename(path / "model.npz", tmp_path / "elsewhere")
    os.symlink(tmp_path / "elsewhere", path / "model.npz")
    with pytest.raises(_checks.CheckpointError, match=r"is damaged \(it is a symbolic link\)"):
        store.restore(model())
    os.unlink(path / "state.json")
    os.mkfifo(path / "state.json")
    with pytest.raises(_checks.CheckpointError, match=r"is damaged \(it is no plain file\)"):
        store.restore(model())


def test_the_best_one_is_named_in_each_state(store):
    made = model()
    for step in range(1, 5):
        store.save(made, {"step": step}, best=step == 1)
    flip(store.directory / "step-000000004" / "state.json")
    assert store.best() == "step-000000001" and store.names()[0] == "step-000000001"
    assert store.state() == {"step": 3, "checkpoint": "step-000000003"}
    assert store.restore(model(), which="best")["step"] == 1


def test_a_best_one_that_is_missing_is_told(store, capsys):
    for step in (1, 2, 3):
        path = store.save(model(), {"step": step}, best=step == 1)
    shutil.rmtree(store.directory / "step-000000001")
    assert store.restore(model(), which="best")["step"] == 3 and store.best() is None
    assert f"step-000000001, which was the best, is missing; {path.name} is used instead." in capsys.readouterr().err


@pytest.mark.parametrize(("part", "value"), [("model", math.nan), ("model", math.inf), ("optimizer", math.nan)])
def test_values_that_are_not_finite_are_never_saved(store, part, value):
    made = model()
    store.save(made, {"step": 1})
    variable = made.trainable_variables[-1] if part == "model" else made.optimizer.variables[-1]
    variable.assign(variable + value)
    with pytest.raises(
        _checks.DivergedError, match=r"step-0*2: not saved, for the values of .* not finite.*step-0*1\. Try"
    ):
        store.save(made, {"step": 2})
    assert store.names() == ["step-000000001"]


def test_checkpoints_that_are_removed_meanwhile_are_named(store, capsys):
    store.save(model(), {"step": 1})
    shutil.rmtree(store.directory)
    store.save(model(), {"step": 2})
    assert f"{store.directory / 'step-000000001'} was removed while training ran" in capsys.readouterr().err
    store.save(model(), {"step": 3})
    assert capsys.readouterr().err == ""


class TwoOptimizers(keras.Model):
    """Two networks that are trained by an optimizer each, as a generator and its critic are."""

    def __init__(self):
        super().__init__()
        self.first, self.second = keras.layers.Dense(2), keras.layers.Dense(3)
        self.second_optimizer = keras.optimizers.Adam(0.1)

    def call(self, inputs):
        return self.second(self.first(inputs))

    def step(self):
        for optimizer, layer in ((self.optimizer, self.first), (self.second_optimizer, self.second)):
            optimizer.apply([ops.ones(v.shape) for v in layer.trainable_variables], layer.trainable_variables)


def two_optimizers(seed):
    keras.utils.set_random_seed(seed)
    made = TwoOptimizers()
    made.compile(keras.optimizers.SGD(0.1, momentum=0.9))
    made(np.ones((1, 3)))
    return made


def test_every_optimizer_of_a_model_is_restored(store):
    made, other = two_optimizers(1), two_optimizers(2)
    made.step()
    assert sorted(os.listdir(store.save(made, {"step": 1})))[-3:] == [
        "optimizer-second_optimizer.npz", "optimizer.npz", "state.json"]  # fmt: skip
    store.restore(other)
    for each in (made, other):
        each.step()
    assert same(made.get_weights(), other.get_weights())
    assert int(other.second_optimizer.iterations) == int(other.optimizer.iterations) == 2


@pytest.mark.parametrize("content", [b"\xfb{}", b"{}", b'{"sha256": "a"}', b'{"sha256": {"state.json": "a"}}'])
def test_checksums_of_a_damaged_record_are_refused(tmp_path, content):
    store = CheckpointStore(tmp_path)
    path = store.save(model(), {"step": 1})
    assert set(store.checksums(path.name)) == {"model.npz", "optimizer.npz", "state.json"}
    (path / "manifest.json").write_bytes(content)
    with pytest.raises(_checks.CheckpointError, match=f"{path.name} is damaged .*Copy the whole run again"):
        store.checksums(path.name)
