"""The page in a real browser without a window: every kind of input and output, keyboard, phone, and nothing that runs.

KERAZOO_SCREENSHOTS=DIR python -m pytest tests/serve/test_page.py -m slow -n 0    # DIR gets pictures of all of it
"""

import json
import math
import os
import pathlib
import shutil
import struct
import threading
import wave

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")
for package in ("starlette", "uvicorn", "prometheus_client"):
    pytest.importorskip(package)
playwright = pytest.importorskip("playwright.sync_api", reason="needs the package playwright")

import kerazoo as kz  # noqa: E402

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="needs the browser Chromium")]
PICTURES = os.environ.get("KERAZOO_SCREENSHOTS")


class Texts(tf.Module):
    """Texts to texts: a signature for one, and one for several with an option and an alignment."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="source")])
    def best(self, source):
        return {"answer": tf.strings.upper(source), "score": -tf.cast(tf.strings.length(source), tf.float32)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="source"), tf.TensorSpec([], tf.float32)])
    def ranked(self, source, temperature=tf.constant(1.0)):  # noqa: B008
        size = tf.shape(source)[0]
        second = tf.strings.join([source, tf.where(temperature < 1, "cold", "warm")], " and ")
        weights = tf.tile(tf.eye(3, 5)[None], [size, 1, 1])
        scores = tf.tile(tf.constant([[-0.5, -1.5]]), [size, 1])
        return {"answers": tf.stack([second, source], 1), "scores": scores, "alignment": weights}


class Signals(tf.Module):
    """Images, sounds and series."""

    @tf.function(input_signature=[tf.TensorSpec([None, 8, 8, 1], tf.uint8, name="source")])
    def image(self, source):
        pixels = tf.cast(source, tf.float32) / 255
        return {"reconstruction": pixels, "error": tf.reduce_mean(pixels, [1, 2, 3])}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="source")])
    def file(self, source):
        decode = lambda file: tf.image.resize(tf.io.decode_png(file, 1), [8, 8])  # noqa: E731
        return self.image(tf.cast(tf.map_fn(decode, source, fn_output_signature=tf.float32), tf.uint8))

    @tf.function(input_signature=[tf.TensorSpec([None, None], tf.float32, name="source")])
    def sound(self, source):
        return {"sound": source, "length": tf.fill([tf.shape(source)[0]], tf.shape(source)[1]), "sample_rate": 8000}

    @tf.function(input_signature=[tf.TensorSpec([None, 3, 2], tf.float64, name="source")])
    def series(self, source):
        parts = tf.stack([source - 1, source, source + 1], -1)
        return {"forecast": source, "quantiles": parts}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float64, name="width")])
    def number(self, width):
        labels = tf.where(width > 2, "large", "small")
        rows = [tf.shape(width)[0], 1]
        probabilities, classes = tf.tile([[0.25, 0.75]], rows), tf.tile([["small", "large"]], rows)
        return {"label": labels, "probabilities": probabilities, "classes": classes}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    texts, signals = Texts(), Signals()
    tf.saved_model.save(texts, str(folder / "texts"), {"serving_default": texts.best, "generate": texts.ranked})
    images = {"serving_default": signals.image, "serving_files": signals.file}
    tf.saved_model.save(signals, str(folder / "images"), images)
    for name in ("sound", "series", "number"):
        tf.saved_model.save(signals, str(folder / name), getattr(signals, name))
    names = ("texts", "images", "sound", "series", "number")
    options = kz.serve.ServingOptions(port=0, max_text_length=99)
    server = kz.serve.ModelServer([folder / name for name in names], options, list)
    thread = threading.Thread(target=server.run)
    thread.start()
    server.wait_until_ready()
    yield server
    server.stop()
    thread.join(20)


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(params=["desktop-light", "phone-dark"])
def page(request, server, browser):
    size = {"desktop": {"width": 1280, "height": 800}, "phone": {"width": 390, "height": 844}}
    kind, scheme = request.param.split("-")
    context = browser.new_context(
        viewport=size[kind], color_scheme=scheme, permissions=["clipboard-read", "clipboard-write"]
    )
    page = context.new_page()
    page.faults = []
    page.on("pageerror", lambda error: page.faults.append(str(error)))
    page.on(
        "request", lambda made: page.faults.append(made.url) if not made.url.startswith(("blob:", server.url)) else None
    )
    page.on("dialog", lambda dialog: page.faults.append("a dialog"))
    page.set_default_timeout(10_000)
    yield page
    if PICTURES:
        pathlib.Path(PICTURES).mkdir(parents=True, exist_ok=True)
        name = request.node.name.removeprefix("test_").replace("[", "-").rstrip("]")
        page.screenshot(path=f"{PICTURES}/{name}.png", full_page=True)
    assert page.faults == []
    width = size[kind]["width"]
    for section in page.locator("header, section, textarea, select, #curl").all():
        box = section.bounding_box()
        assert box is None or (box["x"] >= 0 and box["x"] + box["width"] <= width), "a part is wider than the screen"
    context.close()


def open_model(page, server, model, signature=None):
    page.goto(f"{server.url}/#{model}")
    page.reload()
    page.locator("#fields .field").first.wait_for()
    if signature:
        page.select_option("#signature", signature)


def send(page):
    page.click("#send")
    page.locator("#send:enabled").wait_for()


def shown(page):
    return page.locator("#outputs").inner_text()


def test_a_text_is_typed_and_sent_by_keyboard(page, server):
    open_model(page, server, "texts", "serving_default")
    page.focus("#signature")
    page.keyboard.press("Tab")
    assert page.locator("textarea:focus").count() == 1
    page.keyboard.type("it's <b>bold</b> <img src=x onerror=alert(1)>")
    page.keyboard.press("Control+Enter")
    page.locator(".prediction dd.main").wait_for()
    assert "IT'S <B>BOLD</B> <IMG SRC=X ONERROR=ALERT(1)>" in shown(page)
    assert page.locator("#outputs img, #outputs b").count() == 0
    command = page.locator("#curl").inner_text()
    expected = """curl -d '{"instances":["it'\\''s <b>bold</b> <img src=x onerror=alert(1)>"]}' """
    assert command == f"{expected}{server.url}/v1/models/texts:predict"
    page.click("#copy")
    page.locator("#copy", has_text="Copied").wait_for()


def test_each_line_is_an_example_and_a_refusal_has_its_reason(page, server):
    open_model(page, server, "texts", "serving_default")
    page.fill("textarea", "one\ntwo")
    page.check("#fields .check input")
    send(page)
    assert page.locator(".prediction").count() == 2 and "TWO" in shown(page)
    page.fill("textarea", "x" * 100)
    send(page)
    assert "at most 99 characters" in page.locator("#error").inner_text()
    assert page.locator("#error").get_attribute("role") == "alert"


def test_an_option_that_is_moved_shows_what_changed(page, server):
    open_model(page, server, "texts", "generate")
    page.fill("textarea", "word")
    send(page)
    assert page.locator("ol.best li").count() == 2 and "word and warm" in shown(page)
    assert page.locator("table.alignment td[title]").count() == 15
    page.click("#options summary")
    page.fill("#option-fields input", "0.5")
    send(page)
    assert "word and cold" in shown(page)
    assert page.locator("ol.best mark").all_inner_texts() == [" cold"]
    assert '"inputs":{"source":["word"],"temperature":0.5}' in page.locator("#curl").inner_text()


def test_words_come_as_a_stream(page, server):
    open_model(page, server, "texts", "serving_default")
    page.fill("textarea", "one two  three")
    page.check("#stream")
    send(page)
    assert "ONE TWO  THREE" in page.locator("dd.main").inner_text()
    assert "as a whole" in page.locator("#note").inner_text()
    assert ":stream" in page.locator("#curl").inner_text()


def test_an_image_is_dropped(page, server, tmp_path):
    file = tmp_path / "it's.png"
    pixels = np.arange(64, dtype="uint8").reshape(8, 8, 1) * 3
    file.write_bytes(tf.io.encode_png(pixels).numpy())
    open_model(page, server, "images")
    assert page.locator("#signature").input_value() == "serving_files"
    page.set_input_files(".drop input", file)
    page.locator(".drop img").wait_for()
    send(page)
    assert page.locator("#outputs canvas").count() == 1 and "0.37" in shown(page)
    command = page.locator("#curl").inner_text()
    assert command.startswith(
        """printf '{"signature_name":"serving_files","instances":[{"b64":"%s"}]}' "$(base64 < 'it'\\''s.png'"""
    )
    page.select_option("#signature", "serving_default")
    page.set_input_files(".drop input", file)
    page.locator(".drop img").wait_for()
    send(page)
    assert "0.37" in shown(page)


def test_a_sound_is_dropped_and_played(page, server, tmp_path):
    file = tmp_path / "tone.wav"
    with wave.open(str(file), "wb") as sound:
        sound.setparams((1, 2, 16000, 0, "NONE", ""))
        sound.writeframes(b"".join(struct.pack("<h", int(9000 * math.sin(i / 9))) for i in range(4000)))
    open_model(page, server, "sound")
    page.set_input_files(".drop input", file)
    page.locator(".drop audio").wait_for()
    send(page)
    assert page.locator("#outputs audio").count() == 1 and "0.50 s" in shown(page)
    with page.expect_download() as download:
        page.click("#download a")
    values = json.loads(pathlib.Path(download.value.path()).read_text())["inputs"]["source"]
    expected = [int(9000 * math.sin(i / 9)) / 32768 for i in range(4000)]
    np.testing.assert_allclose(values, [expected], atol=1e-4)


def test_a_table_is_dropped_and_drawn(page, server, tmp_path):
    file = tmp_path / "hours.csv"
    file.write_text("date;a;b\n" + "".join(f'"2020-01-0{i}";{i};{i * i}\n' for i in range(1, 6)))
    open_model(page, server, "series")
    page.set_input_files(".drop input", file)
    send(page)
    assert page.locator("#outputs polyline").count() == 2 and page.locator("#outputs polygon").count() == 1
    assert '"instances":[[[3,9],[4,16],[5,25]]]' in page.locator("#curl").inner_text()
    page.fill("textarea", "1;2")
    send(page)
    assert "The table needs 3 rows of numbers; it has 1." in page.locator("#error").inner_text()


def test_a_number_gives_a_class(page, server):
    open_model(page, server, "number")
    send(page)
    assert "Give a number for width." in page.locator("#error").inner_text()
    page.fill("input[type=number]", "2.5")
    send(page)
    assert "large" in shown(page) and page.locator("ol.best li").count() == 2
