"""The task `forecast`: scaling, losses, measures, baselines, and forecasts of files with their dates continued."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import kerazoo as kz
from kerazoo._checks import DataError
from kerazoo.run import baselines
from kerazoo.run.model_building import build_model
from kerazoo.run.predictor import Predictor
from kerazoo.tasks.measures import MEASURES

MONTHS = [f"{1990 + i // 12}-{i % 12 + 1:02d}" for i in range(131)]


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """Monthly sales: a wave of twelve months on a slope, and its double."""
    path = tmp_path_factory.mktemp("forecast") / "sales.csv"
    rows = [(round(20 + i / 5 + 10 * np.sin(i * np.pi / 6), 4), i % 4) for i in range(131)]
    path.write_text("month,sales,visits\n" + "".join(f"{m},{a},{b}\n" for m, (a, b) in zip(MONTHS, rows)))
    return path


@pytest.fixture(scope="module")
def task(path):
    return kz.tasks.create("forecast", data_dir=path, window=13, horizon=5, quantiles="0.1,0.4,0.9")


def test_sizes_batches_and_the_scale_of_targets(task):
    assert task.kind == "forecaster"
    sizes = {"input_shape": (13, 2), "output_length": 5, "num_values": 2, "quantiles": (0.1, 0.4, 0.9)}
    assert task.sizes() == sizes
    windows, references = task.examples("test")
    inputs, targets, weights = task.batch(*task.load("test").batch([0, 1, -1]))
    assert inputs["source"].shape == (3, 13, 2) and weights.shape == (3, 5)
    assert np.asarray(weights)[:, 0].tolist() == [1, 1, 0]
    np.testing.assert_array_equal(inputs["targets"], targets)  # shifted by models alone
    state = task.state["source"]
    np.testing.assert_allclose(np.asarray(targets)[0] * state["deviation"] + state["mean"], references[0][0], atol=1e-4)
    np.testing.assert_allclose(task.encode(windows[:1])["source"][0], np.asarray(inputs["source"])[0], atol=1e-6)


def test_decoded_quantiles_are_sorted_and_the_middle_one_is_the_forecast(task):
    outputs = np.random.default_rng(0).normal(size=(3, 5, 6)).astype("float32")
    (first, *_), state = task.targets.decode_quantiles(outputs), task.state["source"]
    expected = np.sort(outputs[0].reshape(5, 2, 3), axis=2)
    np.testing.assert_allclose(
        first, expected * np.array(state["deviation"])[:, None] + np.array(state["mean"])[:, None]
    )
    served = task.decode_in_graph(tf.constant(outputs))
    np.testing.assert_allclose(served["quantiles"][0], first)
    np.testing.assert_allclose(served["forecast"], np.stack(task.decode(outputs)))
    np.testing.assert_allclose(task.decode(outputs)[0], first[:, :, 1])


def test_quantile_loss_is_smallest_at_the_quantiles():
    values = np.random.default_rng(1).normal(size=(1, 2001, 1)).astype("float32")
    levels = (0.1, 0.5, 0.9)
    loss = kz.training.QuantileLoss(levels)
    best = np.broadcast_to(np.quantile(values, levels), (1, 2001, 3)).astype("float32")
    lowest = float(loss(values, best))
    errors = values - best
    expected = np.maximum(np.array(levels) * errors, (np.array(levels) - 1) * errors).mean()
    assert lowest == pytest.approx(expected, rel=1e-5)
    for change in (0.1, -0.1):
        assert float(loss(values, best + np.float32(change))) > lowest
    weights = np.ones((1, 2001), "float32")
    weights[:, 1000:] = 0
    assert float(loss(values, best, weights)) == pytest.approx(float(loss(values[:, :1000], best[:, :1000])), rel=1e-5)
    assert isinstance(keras.losses.deserialize(keras.losses.serialize(loss)), kz.training.QuantileLoss)


@pytest.mark.parametrize("name, cls", [("mean_squared_error", "MeanSquaredError"), ("mean_absolute_error", "MeanAbs")])
def test_losses_are_means_over_valid_rows(path, name, cls):
    task = kz.tasks.create("forecast", data_dir=path, window=13, horizon=5, loss=name)
    loss = task.loss()
    assert type(loss).__name__.startswith(cls)
    _, targets, weights = task.batch(*task.load("test").batch([0, 1, -1]))
    values = np.asarray(targets)[:2]
    expected = np.mean(values**2) if name == "mean_squared_error" else np.mean(np.abs(values))
    assert float(loss(targets, targets * 0, sample_weight=weights)) == pytest.approx(float(expected), rel=1e-5)
    with pytest.raises(ValueError, match="numbers take no label_smoothing"):
        task.loss(label_smoothing=0.1)


def test_measures_and_baselines_equal_their_definitions(task):
    windows, references = task.examples("test")
    baselines = task.targets.baselines(None, task.inputs)
    assert baselines == {"last value": 1, "value of one season (12 rows) before": 12}
    last = task.targets.predict_baseline("last value", 1, windows)
    assert all((forecast == window[-1]).all() for forecast, window in zip(last, windows))
    seasonal = task.targets.predict_baseline("seasonal", 12, windows)
    np.testing.assert_array_equal(seasonal[0], windows[0][[-12, -11, -10, -9, -8]])
    found = task.evaluate(seasonal, references)
    truth, forecast = np.stack([each[0] for each in references]), np.stack(seasonal)
    state, naive = task.state["source"], np.array(task.state["targets"]["naive_error"])
    scaled = (truth - forecast) / state["deviation"]
    assert found["mean_squared_error"] == pytest.approx(np.mean(scaled**2))
    assert found["mean_absolute_error"] == pytest.approx(np.mean(np.abs(scaled)))
    assert found["mase"] == pytest.approx(np.mean(np.abs(truth - forecast) / naive))
    sizes = np.abs(truth) + np.abs(forecast)
    errors = np.divide(200 * np.abs(truth - forecast), sizes, out=np.zeros_like(sizes), where=sizes > 0)
    assert found["smape"] == pytest.approx(np.mean(errors))
    assert MEASURES.get("smape")([np.zeros((2, 1))], [[np.zeros((2, 1))]]) == 0


@pytest.fixture(scope="module")
def predictor(task):
    model = build_model("linear_forecaster", task, {"kernel_size": 3})
    return Predictor(model, task)


def test_a_table_of_the_future_continues_the_dates(predictor, path, tmp_path):
    table = kz.run.future_table(predictor, path)
    assert table[0] == ["date", *(f"{name} {q}" for name in ("sales", "visits") for q in ("0.1", "0.4", "0.9"))]
    assert [row[0] for row in table[1:]] == ["2000-12-01", "2001-01-01", "2001-02-01", "2001-03-01", "2001-04-01"]
    (window,) = predictor.task.read([path])
    np.testing.assert_allclose([float(row[2]) for row in table[1:]], predictor([window])[0][:, 0], rtol=1e-6)
    short = tmp_path / "short.csv"
    short.write_text("month,sales,visits\n" + "".join(f"{m},1,2\n" for m in MONTHS[:7]))
    with pytest.raises(DataError, match="short.csv: 7 rows hold no window of 13 rows. Give more rows"):
        kz.run.future_table(predictor, short)


def test_a_restored_task_reads_files_as_it_was_trained(tmp_path):
    path = tmp_path / "s.csv"
    rows = "".join(f"{month};{i},5\n" for i, month in enumerate(MONTHS[:61]) if i != 20)
    path.write_text("Monat;Umsatz\n" + rows)
    reading = {"delimiter": ";", "decimal": ",", "gaps": "interpolate"}
    task = kz.tasks.create("forecast", data_dir=path, window=7, horizon=2, **reading)
    assert len(task.load("train")) == 43 - 9 + 1
    task.save(tmp_path / "saved")
    path.write_text("Monat;Umsatz\n" + "".join(f"{month};{i},5\n" for i, month in enumerate(MONTHS[:9]) if i != 5))
    again = kz.tasks.restore(tmp_path / "saved")
    assert again.read([path])[0][:, 0].tolist() == [i + 0.5 for i in range(2, 9)]
    with pytest.raises(ValueError, match="task forecast: was fitted with length=2; got length=3"):
        kz.tasks.restore(tmp_path / "saved", horizon=3)
    with pytest.raises(ValueError, match=r"was fitted with quantiles=\(\); got quantiles=\(0.5,\)"):
        kz.tasks.restore(tmp_path / "saved", quantiles="0.5")


@pytest.mark.parametrize(
    "options, message",
    [
        (
            {"quantiles": "0.5,x"},
            "task forecast: `quantiles` must be ascending numbers in .0, 1. with commas.*='0.5,x'",
        ),
        ({"quantiles": "0.9,0.1"}, "`quantiles` must be ascending"),
        ({"loss": "huber"}, "`loss` must be one of 'mean_squared_error', 'mean_absolute_error'; got loss='huber'"),
        ({"quantiles": "0.5", "loss": "mean_absolute_error"}, "quantiles have a loss of their own"),
        ({"window": 0}, "task forecast: `window` must be an integer above 0; got window=0"),
        ({"data_dir": None}, "task forecast: needs `data_dir`, a CSV file with a header"),
    ],
)
def test_refusals(path, options, message):
    with pytest.raises(ValueError, match=message):
        kz.tasks.create("forecast", **{"data_dir": path, "window": 13, "horizon": 5, **options})


def test_samples_of_an_evaluation_are_drawn_with_their_quantiles(predictor):
    from kerazoo.run import pictures
    from kerazoo.run.evaluation import evaluate_predictor

    result, samples = evaluate_predictor(predictor, "test", limit=5, samples=2)
    assert set(result["metrics"]) == {"mean_squared_error", "mean_absolute_error", "mase", "smape"}
    assert [sample.quantiles.shape for sample in samples] == [(5, 2, 3)] * 2
    np.testing.assert_allclose(samples[0].quantiles[:, :, 1], samples[0].prediction, rtol=1e-5)
    pytest.importorskip("matplotlib")
    drawn = pictures.draw(samples[0])
    assert drawn.startswith(b"\x89PNG") and drawn != pictures.draw(samples[0]._replace(quantiles=None))


@pytest.fixture(scope="module")
def two_files(tmp_path_factory):
    """Two series of which one is a thousand times as large and has another season."""
    folder = tmp_path_factory.mktemp("files")
    for name, size, season in (("small", 1, 12), ("large", 1000, 4)):
        values = [round(size * (7 + i % season + i / 50), 3) for i in range(101)]
        (folder / f"{name}.csv").write_text(f"month,{name}\n" + "".join(f"{m},{v}\n" for m, v in zip(MONTHS, values)))
    return kz.tasks.create("forecast", data_dir=f"{folder}/*.csv", window=13, horizon=5)


def test_errors_of_files_have_the_scale_of_each(two_files):
    state = two_files.state["source"]["files"]
    files = [name for (name,) in two_files.columns("test")["file"]]
    windows, references = two_files.examples("test")
    assert two_files.scaled_examples("test")[2] == files and set(files) == {"small.csv", "large.csv"}
    stored = two_files.load("test").features["source"]
    for row in (0, -1):
        mean, deviation = (np.array(state[files[row]][name]) for name in ("mean", "deviation"))
        np.testing.assert_allclose(np.asarray(stored[row]), (windows[row] - mean) / deviation, rtol=1e-5)
    seasons = {"name": "value of one season of the file before", "fitted": 0}
    assert two_files.targets.baselines(None, ()) == {"last value": 1, seasons["name"]: 0}
    predicted = baselines.predict(two_files.targets, seasons, windows, files)
    np.testing.assert_array_equal(predicted[files.index("large.csv")][:4], windows[files.index("large.csv")][-4:])
    found = two_files.evaluate(predicted, references, groups=files)
    scaled = [np.abs(p - r[0]) / state[f]["deviation"] for p, r, f in zip(predicted, references, files)]
    assert found["mean_absolute_error"] == pytest.approx(np.mean(scaled))
    naive = two_files.state["targets"]["files"]
    errors = [np.abs(p - r[0]) / naive[f]["naive_error"] for p, r, f in zip(predicted, references, files)]
    assert found["mase"] == pytest.approx(np.mean(errors))
    with pytest.raises(DataError, match="new.csv: is none of the files of the training data, which have a scale each"):
        two_files.targets.of_file("new.csv")


def test_a_model_predicts_any_file_whatever_its_scale(two_files):
    predictor = Predictor(build_model("linear_forecaster", two_files, {}), two_files)
    windows, _ = two_files.examples("test", limit=3)
    one, other = predictor([windows[0]])[0], predictor([1e5 * windows[0] - 7e3])[0]
    np.testing.assert_allclose(other, 1e5 * one - 7e3, rtol=1e-4)
    with pytest.raises(ValueError, match="several files have a scale each, .*; got LinearForecaster without"):
        build_model("linear_forecaster", two_files, {"instance_normalization": False})


def test_an_evaluation_by_file(two_files):
    from kerazoo.run.evaluation import evaluate_predictor

    predictor = Predictor(build_model("linear_forecaster", two_files, {}), two_files)
    baseline = baselines.fit(two_files, two_files.load("train"), True)
    result, _ = evaluate_predictor(predictor, "test", samples=0, by="file", baseline=baseline)
    groups = result["by"]["groups"]
    assert set(groups) == {"small.csv", "large.csv"} and groups["small.csv"]["baseline.mase"] < 1
    assert result["by"]["mean"]["mase"] == pytest.approx(np.mean([each["mase"] for each in groups.values()]))
