"""report.html is one page that needs nothing from elsewhere and shows whatever comes from data as text."""

import html.parser
import json

import keras
import numpy as np
import pytest

from kerazoo import run, training
from kerazoo.run import error_analysis, html_report, report
from kerazoo.run.sample_table import Sample

EVIL = "<script>alert(1)</script>\"' onload=x <img src=x onerror=alert(1)>"
IMAGE = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
# The elements that the page has, and the attributes that may name something.
ELEMENTS = {
    "html", "head", "meta", "title", "style", "body", "h1", "h2", "h3", "p", "div", "table", "thead", "tbody", "tr",
    "th", "td", "figure", "figcaption", "svg", "line", "text", "polyline", "circle", "span", "i", "pre", "img", "br",
}  # fmt: skip


class Page(html.parser.HTMLParser):
    """Collects the elements and the texts of a page."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.attributes, self.texts, self.open = set(), [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.add(tag)
        self.attributes += attrs
        if tag not in ("meta", "img", "br", "line"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.add(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


@pytest.fixture
def folder(tmp_path):
    run_dir = run.RunDirectory(tmp_path / "run")
    run_dir.checkpoints.mkdir(parents=True)
    record = {"model": EVIL, "model_options": {"units": 3, EVIL: EVIL}, "task": EVIL, "task_options": {"a": EVIL},
              "training": {"seed": 5}, "import": [], "data": {"train": {"examples": 7}},
              "calls": [{"seconds": 4.0, "step_seconds": 3.0, "started": EVIL}]}  # fmt: skip
    run_dir.save_record(record)
    lines = [{"epoch": n, "step": 10 * n, "seconds": 2.0 * n, "loss": 3.0 / n, "val_loss": 4.0 / n, "val_f1": 0.1 * n,
              "learning_rate": 1e-3, EVIL: 0.5} for n in (1, 2, 3)]  # fmt: skip
    run_dir.metrics.write_text("".join(json.dumps(line) + "\n" for line in [*lines, {"epoch": 2, "loss": 9.0}]) + "{\n")
    return run_dir


def written(folder, *samples):
    result = {
        "metrics": {"f1": 0.25, "baseline.f1": 0.125, EVIL: 0.5}, "examples": 3, "seconds": 0.1, "baseline": EVIL,
        "intervals": {"f1": [0.2, 0.3]}, "search": {EVIL: EVIL}, "limits": EVIL, "signatures": {EVIL: EVIL},
        "confusion": {"classes": [EVIL, "b"], "counts": [[2, 1], [0, 4]]}, "unseen": {EVIL: 2}, "ranked_by": "f1",
        "by_length": {"measure": "f1", "unit": "characters", "groups": [[1, 5, 2, 0.5], [6, 9, 1, 0.125]]},
        "by": {"column": EVIL, "groups": {EVIL: {"examples": 3, "f1": 0.25}}, "mean": {"f1": 0.25}},
    }  # fmt: skip
    report.write(folder, result, "dev", list(samples))
    return folder.report_page.read_text(encoding="utf-8")


def test_whatever_comes_from_data_is_text(folder):
    kinds = ("random", "best", "worst")
    text = written(folder, *(Sample(EVIL, [EVIL, "b"], f"{EVIL}\n\x1b[2J\u2028", kind=kind) for kind in kinds))
    page = Page(text)
    assert not page.open and page.elements <= ELEMENTS
    assert {name for name, _ in page.attributes if name.startswith("on") or name in ("href", "srcset")} == set()
    assert all(value.startswith("data:image/png;base64,") for name, value in page.attributes if name == "src")
    assert (
        any(EVIL in each for each in page.texts) and "\x1b" not in text and "http" not in text.replace("http-equiv", "")
    )
    assert "default-src 'none'" in text and "prefers-color-scheme:dark" in text


def test_the_page_has_curves_measures_and_errors(folder):
    text = written(folder, Sample(IMAGE, ["a"], "b"), Sample("x", ["a"], "a", kind="best"))
    assert text.count("<svg") == 4  # loss, f1, what the odd line has, and the rate
    assert text.count("<polyline") == 5 and "train, epoch 3: 1</title>" in text
    assert '0.2500</td><td class="number">0.2000 to 0.3000</td><td class="number">0.1250' in text
    assert '<td class="number">1 to 5</td><td class="number">2</td><td class="number">0.5000</td>' in text
    assert "0.6667" in text and "Goodput 75%" in text and "python -m experiments.inspect --run_dir=" in text
    assert text.count("data:image/png;base64,") == 1
    (folder.path / "inspect").mkdir()
    (folder.path / "inspect" / "1-attention.png").write_bytes(b"\x89PNG...")
    (folder.path / "inspect" / "no-picture.png").write_bytes(b"<svg onload=x>")
    assert written(folder).count("data:image/png;base64,") == 1


def test_a_run_without_epochs_and_results_has_a_page(tmp_path):
    run_dir = run.RunDirectory(tmp_path)
    record = {"model": "m", "model_options": {}, "task": "t", "task_options": {}, "training": {}, "import": []}
    assert Page(html_report.page(run_dir, record, {}, "", "")).open == []
    assert html_report.read_metrics(tmp_path / "none") == []


def test_the_size_of_the_model_is_that_of_its_checkpoint(folder):
    assert "parameters" not in html_report.page(folder, folder.record(), {}, "", "")
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dropout(0.5), keras.layers.Dense(2)])
    training.CheckpointStore(folder.checkpoints).save(model, {"step": 1})
    page = Page(html_report.page(folder, folder.record(), {}, "", ""))
    assert page.texts[page.texts.index("parameters") + 1] == str(model.count_params()) == "8"


def test_a_chart_of_one_value_and_of_equal_values():
    for points in ([(1, 0.5)], [(1, 0.5), (2, 0.5)]):
        assert "nan" not in html_report.chart("loss", {"train": points})


# What the page says of errors.


def test_the_interval_is_that_of_the_bootstrap():
    rows = np.random.default_rng(0).random(61) < 0.4
    (low, high) = error_analysis.intervals({"accuracy": rows.astype(float)}, resamples=400)["accuracy"]
    assert low < rows.mean() < high
    deviation = np.sqrt(rows.mean() * (1 - rows.mean()) / 61)
    np.testing.assert_allclose([rows.mean() - low, high - rows.mean()], 1.96 * deviation, rtol=0.3)
    assert error_analysis.intervals({"accuracy": np.ones(1)}) == {} and error_analysis.intervals({}) == {}


def test_the_best_the_worst_and_the_length():
    raw, predictions = ["a" * n for n in range(1, 12)], [str(n) for n in range(11)]
    rates = np.arange(11.0)  # the longer, the worse
    found, samples = error_analysis.analysis(raw, [[each] for each in raw], predictions, {"sequence_error_rate": rates})
    assert [(each.kind, each.prediction) for each in samples] == [
        ("best", "0"), ("best", "1"), ("best", "2"), ("worst", "10"), ("worst", "9"), ("worst", "8"),
    ]  # fmt: skip
    groups = found["by_length"]["groups"]
    assert sum(count for _, _, count, _ in groups) == 11 and groups[0][0] == 1 and groups[-1][1] == 11
    assert [value for *_, value in groups] == sorted(value for *_, value in groups)
    assert error_analysis.analysis(raw, [["x"]] * 11, predictions, {"sequence_error_rate": np.ones(11)})[1] == []
