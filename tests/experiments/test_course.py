"""Every block of the course runs, in order: Python as it is, and commands on few examples for one epoch.

The blocks of a lesson share one folder and one namespace, so a block finds what those before it wrote and defined. A
line `<!-- not run: why -->` before a block skips it. `DATA` in a command is the folder of the real data sets.
"""

import pathlib
import re
import shlex

import pytest
from commands import in_process

from kerazoo.export import run_saved_model, verification
from kerazoo.run import variant_measures

LESSONS = sorted((pathlib.Path(__file__).resolve().parents[2] / "docs" / "course").glob("[1-9]_*.md"))
BLOCK = re.compile(r"(<!-- not run: .*? -->\n)?^```(python|sh)\n(.*?)^```", re.DOTALL | re.MULTILINE)
COMMAND = re.compile(r"python -m experiments\.(\w+) (.*)")
SECTIONS = [
    "The idea",
    "The formula",
    "In plain Keras, and in kerazoo",
    "Train it",
    "Look at it",
    "What changes when",
    "Exercises",
    "Further reading",
]
# Where a flag is given twice, the second value counts.
TRAINING = [
    "--limit=64",
    "--epochs=1",
    "--max_shapes=1",
    "--optimizer=sgd",
    "--noxla",
    "--notensorboard",
    "--noevaluate",
]
SHORTER = {
    "run": TRAINING,
    "finetune": TRAINING,
    "evaluate": ["--limit=8", "--samples=1"],
    "inspect": ["--limit=8"],
    "probe": ["--limit=64"],
    "compress": ["--limit=16", "--tune=limit=64", "--tune=epochs=1"],
    "export": ["--signatures="],
}
SHORT_ANSWERS = ["--max_length=4"]  # of a command that names a search
STACK = ["--set=hidden_dim=16", "--set=num_heads=2"]
SMALLER = {
    "transformer_lm_tiny": ["--set=num_layers=1", *STACK],
    "transformer_seq2seq_tiny": ["--set=num_encoder_layers=1", "--set=num_decoder_layers=1", *STACK],
}
# What `tests/run/test_variants.py` measures in processes of their own.
MEASURED = {"weights_bytes": 1, "saved_model_bytes": 1, "memory": 1, "seconds_1": 1.0, "seconds_16": 1.0}


def shortened(command):
    """Returns the module of `experiments` and the arguments of a command, with those that make it quick."""
    name, rest = COMMAND.fullmatch(command).groups()
    arguments = shlex.split(rest, comments=True)
    model = next((each.removeprefix("--model=") for each in arguments if each.startswith("--model=")), None)
    short = SHORT_ANSWERS if any(each.startswith("--search=") for each in arguments) else []
    return name, [*arguments, *SHORTER.get(name, []), *SMALLER.get(model, []), *short]


def page_and_marks(page):
    marks = [pytest.mark.data] if "=DATA" in page.read_text() else []
    return pytest.param(page, id=page.name, marks=marks)


@pytest.mark.parametrize("page", [page_and_marks(page) for page in LESSONS])
def test_the_blocks_of_a_lesson_run_in_order(page, tmp_path, monkeypatch, request):
    data = request.getfixturevalue("shared_data") if "=DATA" in page.read_text() else None
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KERAZOO_CACHE", str(tmp_path / "cache"))
    # That a fresh process gives the same outputs is shown in `tests/test_export.py`.
    monkeypatch.setattr(
        verification, "run_fresh", lambda _, cases, __: [run_saved_model.outputs(**case) for case in cases]
    )
    monkeypatch.setattr(variant_measures, "measure_export", lambda *_, **__: MEASURED)
    namespace = {"__name__": "lesson"}
    for skipped, language, code in BLOCK.findall(page.read_text()):
        if skipped:
            continue
        if language == "python":
            exec(compile(code, f"<{page.name}>", "exec"), namespace)
            continue
        for command in re.sub(r" *\\\n *", " ", code).splitlines():
            name, arguments = shortened(command)
            in_process(name, *[each.replace("=DATA", f"={data}") for each in arguments])


@pytest.mark.parametrize("page", LESSONS, ids=lambda page: page.name)
def test_a_lesson_has_its_sections_and_small_pictures(page):
    assert re.findall(r"^## (.*)$", page.read_text(), re.MULTILINE) == SECTIONS
    pictures = re.findall(r"\]\((pictures/[^)]+\.png)\)", page.read_text())
    assert pictures and all((page.parent / picture).stat().st_size <= 60_000 for picture in pictures)
