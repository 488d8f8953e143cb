"""Every sensible pair of features: a training step, predictions, an evaluation, and an exported model that agrees."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import kerazoo as kz
from kerazoo.export import verification
from kerazoo.run.evaluation import evaluate_predictor

if keras.backend.backend() != "tensorflow":
    pytest.skip("a SavedModel is written with TensorFlow", allow_module_level=True)

ROWS = 41
COLOURS = {"red": (200, 10, 10), "green": (10, 200, 10), "blue": (10, 10, 200)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A table with images, texts, numbers and classes, and a series with a class and a score."""
    folder = tmp_path_factory.mktemp("pairs")
    (folder / "images").mkdir()
    lines = ["file\tcaption\tquestion\tcolour\tshade\tscore\tsize"]
    for row in range(ROWS):
        colour = list(COLOURS)[row % 3]
        pixels = np.full((5, 7, 3), COLOURS[colour], np.uint8)
        pixels[0, 0] = row
        (folder / "images" / f"{row}.png").write_bytes(tf.io.encode_png(pixels).numpy())
        shade = "dark" if row % 2 else "light"
        lines.append(
            f"images/{row}.png\ta {shade} {colour} {row}\twhich {shade}\t{colour}\t{shade}\t{row / 7:.3f}\t{row % 5}"
        )
    (folder / "table.tsv").write_text("\n".join(lines) + "\n")
    series = [f"{i},{np.sin(i):.4f},{i % 11},{'up' if np.cos(i) > 0 else 'down'}" for i in range(131)]
    (folder / "series.csv").write_text("date,a,b,state\n" + "\n".join(series) + "\n")
    return folder


# inputs -> targets: task, kind of model, model, its sizes
LSTM = {"encoder.units": 5, "decoder.units": 7}
CONV = {"encoder.filters": (5, 3)}
DENSE = {"encoder.units": (11,)}
TRANSFORMER = {"encoder.num_layers": 1, "encoder.hidden_dim": 6, "encoder.num_heads": 2, "encoder.intermediate_dim": 11}
PAIRS = {
    ("text:caption", "text:question"): ("table", "lstm+lstm", LSTM),
    ("text:caption", "label:colour"): ("table", "transformer+classifier", TRANSFORMER),
    ("text:caption", "label:shade"): ("table", "lstm+binary_classifier", {"encoder.units": 5}),
    ("text:caption", "number:score"): ("table", "lstm+classifier", {"encoder.units": 5}),
    ("text:question,text:caption", "text:colour"): ("table", "lstm+lstm", LSTM),
    ("image:file", "text:caption"): ("table", "conv+lstm", {**CONV, "decoder.units": 7}),
    ("image:file", "label:colour"): ("table", "conv+classifier", CONV),
    ("image:file", "number:score,number:size"): ("table", "conv+classifier", CONV),
    ("image:file", "image:file"): ("table", "conv+dense", {**CONV, "decoder.units": (7,)}),
    ("image:file,text:question", "text:caption"): (
        "table", "conv,lstm+lstm", {**CONV, "encoder_2.units": 5, "decoder.units": 7},
    ),
    ("number:score,number:size", "label:colour"): ("table", "dense+classifier", DENSE),
    ("number:score", "number:size"): ("table", "dense+dense", {**DENSE, "decoder.units": (7,)}),
    ("label:colour", "text:caption"): ("table", "dense+lstm", {**DENSE, "decoder.units": 7}),
    ("series", "series"): ("series", "dense+dense", {**DENSE, "decoder.units": (7,)}),
    ("series", "future"): ("forecast", "lstm+lstm_values", {"encoder.units": 5, "decoder.units": 7}),
    ("series", "quantiles"): ("forecast", "linear_forecaster", {"kernel_size": 3}),
    ("series", "label:state"): ("series", "lstm+classifier", {"encoder.units": 5}),
    ("series", "number:b"): ("series", "conv+classifier", CONV),
    (None, "text:caption"): ("table", "transformer_lm_tiny", {"num_layers": 1, "hidden_dim": 6, "num_heads": 2}),
}  # fmt: skip
# Their inputs and targets are in other pairs as well; `python -m pytest -m slow tests/tasks/test_pairs.py` has them.
REPEATED = [
    ("text:caption", "label:shade"), ("text:caption", "number:score"),
    ("image:file", "number:score,number:size"), ("number:score,number:size", "label:colour"),
    ("series", "label:state"), ("series", "number:b"),
]  # fmt: skip
CASES = [pytest.param(pair, marks=pytest.mark.slow if pair in REPEATED else ()) for pair in PAIRS]


def create(folder, inputs, targets):
    name, model, _ = PAIRS[inputs, targets]
    options = {"targets": targets, **({"inputs": inputs} if inputs else {})}
    if name == "forecast":
        options = {"data_dir": folder / "series.csv", "columns": "a,b", "window": 7, "horizon": 3}
        options |= {"quantiles": "0.1,0.5,0.9"} if targets == "quantiles" else {}
    elif name == "table":
        table = folder / "table.tsv"
        options |= {"data_dir": table, "dev_data": table, "test_data": table, "length": 13}
    else:
        options |= {"data_dir": folder / "series.csv", "length": 7}
        options |= {"columns": "a"} if targets == "number:b" else {}
    return kz.tasks.create(name, kz.describe(model).kind, **options)


@pytest.fixture(scope="module")
def trained(folder, with_slow_cases):
    """Every pair after a training step: its predictor, the weights' change, and the loss."""
    results = {}
    for (inputs, targets), (_, name, sizes) in PAIRS.items():
        if (inputs, targets) in REPEATED and not with_slow_cases:
            continue
        keras.utils.set_random_seed(3)
        task = create(folder, inputs, targets)
        model = kz.run.model_building.build_model(name, task, sizes)
        model.compile("adam", task.loss(), weighted_metrics=task.metrics(), run_eagerly=True)
        # Attention over the one position of a label has no use for its keys, whose gradient is zero.
        weights = [w for w in model.trainable_variables if inputs != "label:colour" or "key/kernel" not in w.path]
        before = [keras.ops.convert_to_numpy(weight) for weight in weights]
        corpus = task.load("train")
        plan = kz.data.Plan.of(corpus, batch_size=13, max_shapes=1)
        features, valid = corpus.batch(plan.epoch(0)[0].rows, plan.shapes[0].lengths)
        logs = model.train_on_batch(*task.batch(features, valid), return_dict=True)
        after = [keras.ops.convert_to_numpy(weight) for weight in weights]
        changed = [not np.array_equal(*pair) for pair in zip(before, after)]
        results[inputs, targets] = kz.run.Predictor(model, task), changed, logs["loss"]
    return results


@pytest.fixture(scope="module")
def exported(trained, tmp_path_factory):
    """Raw inputs, live predictions and the outputs of the exported model, all from one fresh process."""
    folder, jobs, live = tmp_path_factory.mktemp("exported"), [], {}
    for number, (pair, (predictor, _, _)) in enumerate(trained.items()):
        task = predictor.task
        raw = task.examples("train", limit=3)[0]
        path = kz.export.export(predictor.model, task, folder / str(number), signatures=())
        columns = task.pack(raw)
        jobs.append((path, columns))
        if task.file_signature:
            jobs.append((path, task.encode_files(columns), "serving_files"))
        live[pair] = predictor(raw)
    outputs = iter(verification.fresh_outputs(jobs))
    counts = {pair: 1 + bool(trained[pair][0].task.file_signature) for pair in live}  # images are read as files as well
    return {pair: (predictions, [next(outputs) for _ in range(counts[pair])]) for pair, predictions in live.items()}


@pytest.mark.parametrize("pair", CASES, ids=lambda pair: f"{pair[0]}-{pair[1]}")
def test_a_pair_trains_evaluates_and_exports(trained, exported, pair):
    predictor, changed, loss = trained[pair]
    assert all(changed) and np.isfinite(loss)
    result, shown = evaluate_predictor(predictor, "train", limit=5, samples=2)
    assert result["metrics"] and all(np.isfinite(value) for value in result["metrics"].values())
    assert len(shown) == 2
    predictions, served = exported[pair]
    assert len(predictions) == 3 and len(served) == 1 + ("image:file" in (pair[0] or ""))
    for each in served:
        output = each[predictor.task.targets.outputs[0]]
        if isinstance(predictions[0], str):
            assert output == predictions
        else:
            np.testing.assert_allclose(np.array(output), np.array(predictions), rtol=1e-4, atol=1e-4)


def test_a_saved_pair_predicts_the_same(trained, tmp_path):
    for number, (predictor, _, _) in enumerate(trained.values()):
        task = predictor.task
        raw = task.examples("train", limit=3)[0]
        task.save(tmp_path / str(number))
        again = kz.tasks.restore(tmp_path / str(number), data_dir=tmp_path)  # the data is not needed any more
        assert again.hash == task.hash and again.sizes() == task.sizes() and again.kind == task.kind
        for name, value in task.encode(raw).items():
            np.testing.assert_array_equal(again.encode(raw)[name], value)


def test_numbers_keep_their_digits(tmp_path):
    """Large numbers that are close together are scaled in float64 before they become float32."""
    values = [1e8 + np.sin(i / 10) for i in range(101)]
    (tmp_path / "s.csv").write_text("t\n" + "\n".join(f"{value:.6f}" for value in values) + "\n")
    task = kz.tasks.create("series", data_dir=tmp_path / "s.csv", length=3)
    stored = task.load("train").features["source"]
    assert len(np.unique(stored)) > 60 and abs(stored.mean()) < 0.1 and 0.9 < stored.std() < 1.1
    windows = task.examples("train")[0][:2]
    assert np.allclose(task.encode(windows)["source"], stored[:2], atol=1e-6)
    assert np.allclose(task.decode(stored[:2].reshape(2, 3)), windows, atol=1e-6, rtol=0)


def test_files_are_relative_to_their_table_and_named_in_errors(folder, tmp_path):
    task = create(folder, "image:file", "label:colour")
    image = task.read([str(folder / "images" / "3.png")])[0]
    assert image.shape == (5, 7, 3) and image[4, 6].tolist() == list(COLOURS["red"])
    (tmp_path / "one.tsv").write_text("file\tcolour\nmissing.png\tred\nother.png\tblue\n")
    broken = kz.tasks.create(
        "table", "classifier", data_dir=tmp_path / "one.tsv", dev_data=tmp_path / "one.tsv",
        test_data=tmp_path / "one.tsv", inputs="image:file", targets="label:colour", height=5, width=7,
    )  # fmt: skip
    with pytest.raises(ValueError, match=r"one.tsv:2: .*missing.png: cannot be read: No such file"):
        broken.load("train")


def test_several_columns_are_given_as_tuples_dicts_and_lines(trained):
    predictor = trained["text:question,text:caption", "text:colour"][0]
    row = {"question": "which dark", "caption": "a dark red 3"}
    assert predictor([row]) == predictor([("which dark", "a dark red 3")])
    assert predictor(predictor.task.read(["which dark\ta dark red 3"])) == predictor([row])
    assert list(predictor.task.signature) == ["question", "caption"]
    with pytest.raises(ValueError, match=r"must have 2 columns separated by tabs \(question, caption\); got 1"):
        predictor.task.read(["which"])
    ids = predictor.task.encode([row])["source"][0].tolist()
    assert ids[len("which dark")] == predictor.task.inputs[0].tokenizer.end_id


@pytest.mark.parametrize(
    "options, message",
    [
        (
            {"inputs": "picture:file", "targets": "label:colour"},
            "Unknown modality in `inputs` of task table: 'picture'",
        ),
        ({"inputs": "image:", "targets": "label:colour"}, "`inputs` must be MODALITY or MODALITY:COLUMN"),
        ({"inputs": "image:file"}, "`inputs` needs `targets` as well; got inputs='image:file', targets=None"),
        ({"inputs": "text:caption", "targets": "text:a,text:b"}, "`targets` must be one feature"),
        ({"inputs": "text:caption", "targets": "image:file"}, "an image is a target only where it is the input"),
        (
            {"inputs": "text:caption", "targets": "label:colour", "kind": "seq2seq"},
            "a label is predicted by models of kind classifier; got kind='seq2seq'",
        ),
    ],
)
def test_refusals(folder, options, message):
    kind = options.pop("kind", None)
    with pytest.raises(ValueError) as caught:
        kz.tasks.create("table", kind, data_dir=folder / "table.tsv", **options)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "inputs, model", [("text:question,text:caption", "lstm,lstm+lstm"), ("image:file", "conv,lstm+lstm")]
)
def test_a_model_has_an_encoder_for_each_input(folder, inputs, model):
    task = kz.tasks.create("table", "seq2seq", data_dir=folder / "table.tsv", inputs=inputs, targets="text:colour")
    with pytest.raises(ValueError, match="`model` must have an encoder for each input; got model='.*,lstm.lstm'"):
        kz.run.model_building.build_model(model, task, {})
