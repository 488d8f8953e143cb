"""Variants of a run in small formats: ordinary runs, measured, the frontier, what is continued, and the refusals."""

import json
import shutil

import keras
import numpy as np
import pytest
from toys import predict_eagerly, write_run

import kerazoo as kz
from kerazoo import _checks
from kerazoo.compress import recipes
from kerazoo.export import latency, verification
from kerazoo.run import pictures, variant_measures, variant_table

if keras.backend.backend() != "tensorflow":
    pytest.skip("the tokenizers of a run are TensorFlow's", allow_module_level=True)

QUICK = {"epochs": 1, "batch_size": 64, "xla": False, "limit": 256, "learning_rate": 0.01}
SIZES = {"units": (211,)}
NUMBERS = {"weights_bytes": 1, "saved_model_bytes": 1, "memory": 1, "seconds_1": 1.0, "seconds_16": 1.0}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of a network for digits."""
    path = tmp_path_factory.mktemp("run") / "digits"
    kz.run.train("mlp_classifier", "digits", path, SIZES, {}, QUICK, evaluate=False, tensorboard=False)
    return path


@pytest.fixture(scope="module")
def images(run):
    """Some raw inputs."""
    return kz.load(run).task.examples("dev", limit=31)[0]


@pytest.fixture(scope="module")
def exported(made, tmp_path_factory):
    """The SavedModel of the variant whose layers read 8 bits."""
    return kz.run.export(made[1] / "int8_static", tmp_path_factory.mktemp("exported") / "saved", verify=False)


@pytest.fixture(scope="module")
def made(run, monkeypatch_module, tmp_path_factory):
    """The results of two recipes, with numbers in place of times."""
    to = tmp_path_factory.mktemp("variants")
    return kz.run.compress(run, ["int8", "int8_static"], to=to, limit=31), to


@pytest.fixture(scope="module")
def monkeypatch_module():
    with pytest.MonkeyPatch.context() as patch:
        times = iter(range(1, 100))

        def measured(directory, raw, **options):
            assert (directory / "saved_model.pb").is_file() and raw
            return {"seconds": {1: 0.001 * next(times), 16: 0.5}, "memory": 1000}

        patch.setattr(kz.export, "measure_latency", measured)
        patch.setattr(pictures, "draw", lambda sample: None)  # each example of each report
        patch.setattr(keras.Model, "predict_on_batch", predict_eagerly)
        yield patch


def served(path, raw):
    """The outputs of a SavedModel by name."""
    import tensorflow as tf

    serve = tf.saved_model.load(path).signatures["serving_default"]
    ((name, spec),) = serve.structured_input_signature[1].items()
    return {key: value.numpy() for key, value in serve(**{name: tf.constant(np.array(raw), spec.dtype)}).items()}


@pytest.mark.parametrize("name", ["int8", "int8_static"])
def test_a_variant_is_a_run_that_predicts_and_evaluates(run, made, images, name):
    results, to = made
    whole, small = kz.load(run), kz.load(to / name)
    assert len(kz.compress.stored_weights(small.model)) == 2
    logits = [np.array(each.outputs(images)) for each in (whole, small)]
    np.testing.assert_allclose(*logits, atol=0.2)
    assert not np.array_equal(*logits)
    found = kz.run.evaluate(to / name, "dev", limit=31)["metrics"]
    stored = results["variants"][name]
    assert all(found[name] == pytest.approx(value) for name, value in stored["dev"].items())
    assert (to / name / "report.md").is_file()
    assert stored["weights_bytes"] < 0.5 * results["variants"]["float32"]["weights_bytes"]


def test_ranges_of_inputs_are_chosen_on_dev(made, images, exported):
    _, to = made
    found = json.loads((to / "int8_static" / "run.json").read_text())
    values = found["calibration"]["dev"]
    assert set(values) == {"100.0", "99.99", "99.9"}
    assert values[str(found["calibration"]["percentile"])] == max(values.values())
    low, high = found["stored_weights"][0]["inputs"]
    assert low == 0 < high <= max(image.max() for image in images)
    small = kz.load(to / "int8_static")
    assert [name.decode() for name in served(exported, images)["label"]] == small(images)
    size = (exported / "variables" / "variables.data-00000-of-00001").stat().st_size
    assert size < 0.45 * 4 * sum(np.size(weight) for weight in kz.compress.stored_weights(small.model))


@pytest.mark.slow
def test_a_variant_of_a_model_that_generates(tmp_path, monkeypatch):
    sizes = {"units": 23, "embedding_dim": 19, "attention": "multiplicative"}
    task = kz.tasks.create("reverse", length=3, examples=97)
    task.load("train")
    write_run(tmp_path / "run", "lstm_seq2seq", sizes, task)
    monkeypatch.setattr(variant_measures, "measure_export", lambda *_, **__: NUMBERS)
    results = kz.run.compress(tmp_path / "run", ["int8"], limit=5)
    assert results["metric"] == "token_error_rate" and results["variants"]["int8"]["test"]["token_error_rate"] > 0
    words, small = ["abc", "jih", "a"], kz.load(tmp_path / "run" / "compressed" / "int8")
    assert len(kz.compress.stored_weights(small.model)) > 4
    path = kz.run.export(tmp_path / "run" / "compressed" / "int8", tmp_path / "saved", verify=False)
    assert [text.decode() for text in served(path, words)["answer"]] == small(words)


def test_results_are_a_table_and_a_picture(made):
    results, to = made
    assert list(results["variants"]) == ["float32", "int8", "int8_static"] and results["metric"] == "accuracy"
    table = (to / "compression.md").read_text()
    assert len(table.splitlines()) == 5 and f"{results['variants']['int8']['test']['accuracy']:.4f}" in table
    assert (to / "compression.png").read_bytes()[1:4] == b"PNG"
    assert json.loads((to / "compression.json").read_text())["frontier"] == results["frontier"]


def test_what_was_made_and_measured_is_kept(run, made, tmp_path, monkeypatch):
    _, to = made
    shutil.copytree(to, tmp_path / "to", ignore=shutil.ignore_patterns("events"))
    before = (tmp_path / "to" / "int8" / "run.json").read_bytes()
    counted = []
    monkeypatch.setattr(variant_measures, "measure_export", lambda run, *_, **__: counted.append(run) or NUMBERS)
    results = kz.run.compress(run, ["int8", "int4"], to=tmp_path / "to", limit=31)
    assert [each.path.name for each in counted] == ["int4"] and list(results["variants"])[-1] == "int4"
    assert (tmp_path / "to" / "int8" / "run.json").read_bytes() == before
    with pytest.raises(_checks.CheckpointError, match="other limit .*31; got 7"):
        kz.run.compress(run, ["int8"], to=tmp_path / "to", limit=7)


def test_the_frontier_is_what_nothing_dominates():
    rows = {"a": (0.9, 100, 5), "b": (0.8, 100, 5), "c": (0.8, 50, 5), "d": (0.8, 50, 4), "e": (0.9, 100, 5)}
    results = {
        "metric": "accuracy",
        "variants": {
            name: {"dev": {"accuracy": quality}, "weights_bytes": size, "seconds_1": seconds}
            for name, (quality, size, seconds) in rows.items()
        },
    }
    assert variant_table.frontier(results) == ["a", "d", "e"]
    results["variants"]["a"]["dev"]["accuracy"] = 0.91
    assert variant_table.frontier(results) == ["a", "d"]


def test_weights_in_a_small_format_are_not_trained_or_compressed_again(run, made):
    _, to = made
    for action in (
        lambda: kz.run.compress(to / "int8", ["int4"]),
        lambda: kz.run.train("mlp_classifier", "digits", to / "int8", SIZES, {}, QUICK),
    ):
        with pytest.raises(_checks.CheckpointError, match=f"in a small format.* made of, {run}"):
            action()


def test_a_record_that_does_not_fit_is_refused(made, tmp_path):
    _, to = made
    for number, change in enumerate(
        ({"format": "int4"}, {"format": "exec"}, {"nonzero": 10**12}, {"nonzero": "x"}, {"inputs": [1, 2]})
    ):
        path = tmp_path / str(number)
        shutil.copytree(to / "int8", path)
        record = json.loads((path / "run.json").read_text())
        record.pop("sha256")
        record["stored_weights"][0] |= change
        (path / "run.json").write_text(json.dumps(record))
        with pytest.raises(_checks.CheckpointError, match=str(path)):
            kz.load(path)


@pytest.mark.parametrize(
    "recipe, message",
    [
        ("int9", "Unknown step of `recipe` 'int9'. Close names: int8"),
        ("int8:3", "int8 takes no value; got 'int8:3'"),
        ("int8_static:50", "int8_static takes a percentage of values above 50, .*; got '50'"),
        ("int8,int4", "int8 must be the last step"),
        ("", "Unknown step of `recipe` ''"),
    ],
)
def test_wrong_recipes_are_refused(recipe, message):
    with pytest.raises(ValueError, match=message):
        kz.compress.parse_recipe(recipe)


def test_a_size_in_brackets_is_one_value():
    student, stored = kz.compress.parse_recipe("distil:cnn_classifier:filters=(16,32);strides=((1, 2), (2, 2)),int8")
    assert str(stored) == "int8"
    name, _, sizes = student.value.partition(":")
    assert name == "cnn_classifier"
    assert recipes.parse_sizes(sizes) == {"filters": (16, 32), "strides": ((1, 2), (2, 2))}


def test_the_command_compares_and_refuses(run, tmp_path, monkeypatch_module):
    from commands import in_process, refused

    out, _ = in_process("compress", f"--run_dir={run}", "--recipe=int4", f"--to={tmp_path}/to", "--limit=11")
    assert "| int4 |" in out
    assert "--recipe is required" in refused("compress", f"--run_dir={run}")
    assert "Close names: int8" in refused("compress", f"--run_dir={run}", "--recipe=int88")
    assert "one of 'accuracy'" in refused(
        "compress", f"--run_dir={run}", "--recipe=int8", "--metric=bleu", f"--to={tmp_path}/other"
    )


@pytest.mark.slow
def test_the_time_and_memory_of_an_exported_model_are_measured(exported, images, run):
    raw = kz.load(run).task.pack(images[:3])
    found = latency.measure_latency(exported, raw, (1, 2), seconds=0.01)
    assert found["memory"] > 0 and 0 < found["seconds"][1] < 60 and 0 < found["seconds"][2] < 60
    with pytest.raises(ValueError, match="`seconds` must be"):
        latency.measure_latency(exported, raw, seconds=0)
    with pytest.raises(ValueError, match="`options` are for other formats"):
        latency.measure_latency(exported, raw, options={"num_beams": 2})
    for format in ("onnx", "litert"):
        network = kz.run.export(run, exported.parent / format, format=format)
        found = latency.measure_latency(network, None, (1, 3), seconds=0.01)
        assert found["memory"] > 0 and sorted(found["seconds"]) == [1, 3]
    with pytest.raises(_checks.CheckpointError, match="missing: cannot be run in a fresh process: OSError: no model"):
        verification.run_fresh("raise OSError('no model')", None, "missing")
