"""What a run reports: the summary before training, its results in files, and the next commands."""

import contextlib
import importlib.util
import itertools
import json
import os
import pathlib
import re
import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from kerazoo import _checks, _files
from kerazoo.data import lines as text_lines
from kerazoo.data.splits import SPLITS
from kerazoo.inspect.confusion import draw_confusion
from kerazoo.run import directory, html_report, pictures, sample_table, tensorboard_events
from kerazoo.run.control_characters import printable

if TYPE_CHECKING:
    import keras

    from kerazoo.run.directory import RunDirectory
    from kerazoo.tasks import Task

MAX_ROWS = 100  # of the dev examples, from which an input is proposed
MAX_CHARACTERS = 60  # of that input
BASELINE = "baseline."  # in front of the names of the measures of the baseline
MAX_CLASSES = 30  # of a confusion matrix that is printed and drawn
COMPARED = ("value", "other", "difference")  # of two runs
_MARKDOWN = re.compile(r"([\\`*_\[\]<>&|~#])")


def log(text: str) -> None:
    """Prints a line on standard error."""
    print(printable(text), file=sys.stderr, flush=True)


def headline(record: Mapping, model: "keras.Model", corpus: Any, dev_corpus: Any, plan: Any, seconds: float) -> str:
    """Returns one line about the model, the data and the batches of a training run."""
    examples = f"{len(corpus):,}" if hasattr(corpus, "features") else f"about {plan.examples:,} streamed"
    suffix = "s" if len(plan.shapes) > 1 else ", packed" if plan.shapes[0].segments else ""
    return (
        f"{record['model']}: {model.count_params():,} parameters; {record['task']}: {examples} training and "
        f"{len(dev_corpus or ()):,} dev examples, read in {seconds:.1f} s; {plan.steps:,} "
        f"step{'s' * (plan.steps != 1)} an epoch in {len(plan.shapes)} batch shape{suffix}, "
        f"{plan.valid_fraction:.0%} of the positions valid{_notes(corpus)}{_notes(dev_corpus, 'of dev ')}"
    )


def _notes(corpus, of=""):
    """Returns how many examples were truncated, skipped or of unseen classes when the corpus was prepared."""
    counts = [f"{count:,} {name}" for name, count in getattr(corpus, "notes", {}).items() if count]
    return f"; {of}" + ", ".join(counts) if counts else ""


def goodput(record: Mapping) -> str:
    """Returns the share of the time of a run that was spent in training steps as a sentence, empty if it is not known.

    The rest is reading data, compiling, validation, waiting for checkpoints, and steps that were taken back. Calls that
    were killed left no times.
    """
    calls = [call for call in record.get("calls", []) if call.get("step_seconds")]
    seconds, useful = (sum(call[name] for call in calls) for name in ("seconds", "step_seconds"))
    if not calls or not seconds:
        return ""
    return f"Goodput {useful / seconds:.0%}: {useful:,.1f} s of {seconds:,.1f} s were training steps."


def limits(task: "Task") -> str:
    """Returns where a task cuts its texts and where its predictions end, as a sentence; empty for one without texts."""
    from kerazoo.tasks.text_feature import TextFeature

    cut = [str(feature.max_length) for feature in task.inputs if isinstance(feature, TextFeature)]
    parts = [f"inputs are cut after {' and '.join(dict.fromkeys(cut))} tokens, the task's `max_length`"] if cut else []
    if task.targets.generated and task.targets.modality == "text":
        end = (
            "texts end after {}, those of a window"
            if task.is_language_model
            else ("answers end after {}, those of the longest target of the data")
        )
        parts.append(end.format(f"{task.max_length} tokens") + ", unless `max_length` of predict says more")
    text = "; ".join(parts)
    return text[:1].upper() + text[1:] + "." * bool(text)


def flag_file(record: Mapping, command: Iterable[str]) -> str:
    """Returns the flag file that repeats the run, with absolute file names, so that it can be used anywhere."""
    head = "# python -m experiments.run --flagfile=run.flags\n"
    if "start" in record:
        head = "# python -m experiments.finetune --flagfile=run.flags\n"
    head += f"# kerazoo {record['kerazoo']}\n"
    return head + "".join(f"{_with_absolute_path(line)}\n" for line in command)


def _with_absolute_path(line):
    files = ("run_dir", "cache_dir", "from", "adapter", "teacher", "teacher_data")
    names = "|".join((*directory.PATHS, *files))
    match = re.fullmatch(rf"(-+(?:\w+=)?(?:{names})=)(.*)", line, re.DOTALL)  # a flag, or an option in the value of one
    return f"{match[1]}{directory.absolute_path(match[2])}" if match else line


def summary(result: Mapping, split: str) -> str:
    """Returns the metrics as one line, and a line on classes that the training data lacks."""
    found, simple = _divided(result["metrics"])
    line = f"{split}: {_figures(found)}  ({result['examples']:,} examples in {result['seconds']:.1f} s)"
    line += f"\nbaseline ({printable(result.get('baseline', ''))}): {_figures(simple)}" if simple else ""
    line += "".join(f"\n{name}: {text}" for name, text in result.get("signatures", {}).items())
    if comparison := result.get("comparison"):
        line += f"\n\n{_comparison_title(comparison)}\n" + "\n".join(aligned(comparison_rows(comparison)))
    if anomalies := result.get("anomalies"):
        line += "".join(f"\n{text}" for text in anomaly_lines(anomalies, result["examples"]))
        if rows := kind_rows(anomalies):
            line += "\n\n" + "\n".join(aligned(rows))
    if by := result.get("by"):
        line += "\n\n" + "\n".join(aligned(group_rows(by)))
    unseen = result.get("unseen")
    if not unseen:
        return line
    names = printable(text_lines.list_names(f"{name} ({count:,})" for name, count in unseen.items()))
    count = sum(unseen.values())
    return f"{line}\n{count:,} of them have classes that the training data lacks, and count as wrong: {names}"


def _divided(metrics):
    """Returns the measures of the predictions, and those of the baseline, without the prefix of their names."""
    found = {name: value for name, value in metrics.items() if not name.startswith(BASELINE)}
    simple = {name.removeprefix(BASELINE): value for name, value in metrics.items() if name.startswith(BASELINE)}
    return found, simple


def _figures(metrics):
    return "  ".join(f"{name} {value:.4f}" for name, value in metrics.items())


def group_rows(by: Mapping) -> list[list[str]]:
    """Returns the measures by the values of a column as the rows of a table, with its head and the means at the end."""
    names = list(by["mean"])
    rows = [[by["column"], "examples", *names]]
    for value, found in by["groups"].items():
        rows.append([value, f"{found['examples']:,}", *(f"{found[name]:.4f}" for name in names)])
    return [*rows, ["mean", "", *(f"{by['mean'][name]:.4f}" for name in names)]]


def anomaly_lines(anomalies: Mapping, examples: int) -> list[str]:
    """Returns a sentence about the threshold and the examples above it, none where there is no threshold."""
    if "threshold" not in anomalies:
        return []
    return [
        f"threshold {anomalies['threshold']:.6g}, the quantile {anomalies['quantile']:g} of the errors of "
        f"{anomalies['dev_examples']:,} dev examples: {anomalies['marked']:,} of {examples:,} examples are above it"
    ]


def kind_rows(anomalies: Mapping) -> list[list[str]]:
    """Returns the measures by kind of anomaly as the rows of a table, with its head; nothing without kinds."""
    kinds = anomalies.get("kinds", {})
    if not kinds:
        return []
    names = [name for name in next(iter(kinds.values())) if name != "examples"]
    rows = [["anomalies", "examples", *names]]
    for kind, found in kinds.items():
        rows.append([kind, f"{found['examples']:,}", *(f"{found[name]:.4f}" for name in names)])
    return rows


def comparison_rows(comparison: Mapping) -> list[list[str]]:
    """Returns the measures of two runs with their intervals as the rows of a table, with its head."""
    rows = [["measure", "this run", "95 %", "other run", "95 %", "difference", "95 %"]]
    for name, found in comparison["metrics"].items():
        cells = [[f"{found[key]:.4f}", "{:.4f} to {:.4f}".format(*found[f"{key}_interval"])] for key in COMPARED]
        rows.append([name, *itertools.chain.from_iterable(cells)])
    return rows


def _comparison_title(comparison):
    return (
        f"Compared with {printable(comparison['other'])}, {comparison['resamples']:,} bootstrap samples, "
        f"seed {comparison['seed']}:"
    )


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Returns the rows of a table as lines, the first column to the left and the others to the right."""
    rows = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows)]
    return [
        "  ".join(cell.rjust(w) if n else cell.ljust(w) for n, (cell, w) in enumerate(zip(row, widths))) for row in rows
    ]


# The files of the results.


def write(run: "RunDirectory", result: Mapping, split: str, samples: Sequence[sample_table.Sample]) -> None:
    """Writes `evaluation-SPLIT.json`, the pictures of the samples, and the reports of all splits evaluated so far.

    The samples are in the events of TensorBoard as well, if the run has any. The reports are `report.md`, and
    `report.html` with the curves of the training, the best and the worst predictions, and
    errors by length and class.

    Args:
        run: `RunDirectory`.
        result: dict. The result of the evaluation.
        split: string. What was evaluated.
        samples: list of `Sample`. They are stored as text in the file.
    """
    rows: list[dict[str, Any]] = [sample_table.as_text(sample) for sample in samples]
    for number, (sample, row) in enumerate(zip(samples, rows), 1):
        picture = pictures.draw(sample)
        if picture:
            kind = "" if sample.kind == "random" else f"-{sample.kind}"
            row["picture"] = f"pictures/{split}{kind}-{number}.png"
            _files.write_file(run.path / row["picture"], picture)
        elif pictures.needed(sample):
            row["picture"] = ""
    if _has_confusion(result) and importlib.util.find_spec("matplotlib"):
        name = f"pictures/confusion-{split}.png"
        _files.write_file(run.path / name, draw_confusion(**result["confusion"]))
        result = {**result, "confusion": {**result["confusion"], "picture": name}}
    anomalies: Any = result.get("anomalies")
    if anomalies:
        errors, is_anomaly = anomalies["errors"], anomalies["is_anomaly"]
        kept = {name: value for name, value in anomalies.items() if name not in ("errors", "is_anomaly")}
        if picture := pictures.draw_errors(errors, is_anomaly, anomalies.get("threshold")):
            kept["picture"] = f"pictures/anomalies-{split}.png"
            _files.write_file(run.path / kept["picture"], picture)
        result = {**result, "anomalies": kept}
    _files.write_file(run.evaluation(split), json.dumps({**result, "samples": rows}, indent=2) + "\n")
    results = {split: _read_result(run, split) for split in SPLITS}
    found, record = {split: each for split, each in results.items() if each}, run.record()
    _files.write_file(run.report, markdown(record, found))
    _files.write_file(run.report_page, html_report.page(run, record, found, goodput(record), _commands(run, found)))
    table = "\n".join(_sample_lines(split, rows)).strip()
    tensorboard_events.write_evaluation(run, split, record, result, table, rows)


def _commands(run, results):
    """Returns the commands for a report, with an input of a sample where that is a short text."""
    texts = [row["input"] for result in results.values() for row in result.get("samples", [])]
    short = [each for each in texts if each and not each.startswith(("[", "-")) and len(each) <= MAX_CHARACTERS]
    example = f" {_quoted(short[0])}" if short else ""
    commands = [f"{_command(name, run_dir=run.path)}{example}" for name in ("predict", "inspect")]
    commands += [_command("evaluate", run_dir=run.path), _command("export", run_dir=run.path, to="saved_model")]
    return "\n".join(commands)


def _read_result(run, split):
    """Returns the result on a split, and whether the model was trained since; `None` if there is none to be read."""
    path = run.evaluation(split)
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
        changed = max((entry.stat().st_mtime for entry in run.checkpoints.iterdir()), default=0)
        return {**result, "outdated": changed > path.stat().st_mtime}
    except (OSError, ValueError):
        return None


def markdown(record: Mapping, results: Mapping[str, Mapping]) -> str:
    """Returns the content of `report.md`.

    Args:
        record: dict. The record of the run.
        results: dict. The results with their samples by split.
    """
    names = list(dict.fromkeys(name for result in results.values() for name in _divided(result["metrics"])[0]))
    head = ["split", "examples", "search", *names]
    lines = [f"# {_escaped(record['model'])} on {_escaped(record['task'])}", "", _row(head), "|---" * len(head) + "|"]
    for split, result in results.items():
        found, simple = _divided(result["metrics"])
        search = ", ".join(f"{name}={value}" for name, value in result.get("search", {}).items()) or "default"
        outdated = ", before the last training" if result.get("outdated") else ""
        lines.append(_row([split + outdated, f"{result['examples']:,}", search, *_cells(found, names)]))
        if simple:
            lines.append(_row([f"{split}, baseline: {result.get('baseline', '')}", "", "", *_cells(simple, names)]))
    for limit in dict.fromkeys(result["limits"] for result in results.values() if result.get("limits")):
        lines += ["", limit]
    for split, result in results.items():
        lines += [
            f"\n{_escaped(name)} ({split}): {_escaped(text)}" for name, text in result.get("signatures", {}).items()
        ]
        if _has_confusion(result):
            lines += ["", f"## Confusion ({split}): true classes in rows, predicted ones in columns", ""]
            lines += _markdown_table(_confusion_rows(result["confusion"]))
            if "picture" in result["confusion"]:
                lines += ["", f"![]({result['confusion']['picture']})"]
        if comparison := result.get("comparison"):
            table = _markdown_table(comparison_rows(comparison))
            lines += ["", f"## Comparison ({split})", "", _escaped(_comparison_title(comparison)), "", *table]
        if anomalies := result.get("anomalies"):
            lines += ["", f"## Anomalies ({split})", "", *anomaly_lines(anomalies, result["examples"])]
            if rows := kind_rows(anomalies):
                lines += ["", *_markdown_table(rows)]
            if "picture" in anomalies:
                lines += ["", f"![]({anomalies['picture']})"]
        if by := result.get("by"):
            lines += ["", f"## By {_escaped(by['column'])} ({split})", "", *_markdown_table(group_rows(by))]
        lines += _sample_lines(split, result.get("samples", []))
    if text := goodput(record):
        lines += ["", text]
    return "\n".join([*lines, "", "`run.flags` repeats the run, `metrics.jsonl` has one line per epoch.", ""])


def _sample_lines(split, rows):
    """Returns the samples of a split as a table in Markdown."""
    rows = [row for row in rows if row.get("kind", "random") == "random"]
    if not rows:
        return []
    has_pictures = any(row.get("picture") for row in rows)
    lines = ["", f"## Samples ({split})", "", _row(["input", "reference", "prediction", *(["picture"] * has_pictures)])]
    lines.append("|---" * (3 + has_pictures) + "|")
    for row in rows:
        picture = [f"![]({row['picture']})" if row.get("picture") else ""] if has_pictures else []
        lines.append(f"| {' | '.join([*map(_escaped, sample_table.cells(row)), *picture])} |")
    if any(row.get("picture") == "" for row in rows):
        lines += ["", pictures.MISSING]
    return lines


def _cells(metrics, names):
    return [f"{metrics[name]:.4f}" if name in metrics else "" for name in names]


def _has_confusion(result):
    return 1 < len(result.get("confusion", {}).get("classes", ())) <= MAX_CLASSES


def _confusion_rows(confusion):
    """Returns a confusion matrix as the rows of a table, with its head."""
    rows = [[name, *map(str, counts)] for name, counts in zip(confusion["classes"], confusion["counts"])]
    return [["", *confusion["classes"]], *rows]


def _markdown_table(rows):
    return [_row(rows[0]), "|---" * len(rows[0]) + "|", *map(_row, rows[1:])]


def _row(cells):
    return f"| {' | '.join(map(_escaped, cells))} |"


def _escaped(text):
    """Returns a text that Markdown shows as it is, with the line breaks of a table's cell."""
    return "<br>".join(printable(_MARKDOWN.sub(r"\\\1", line)) for line in text.splitlines())


# The next commands.


def next_commands(run: "RunDirectory", task: "Task") -> str:
    """Returns the commands that use the run; the input is one of the dev examples."""
    lines = [
        f"{_command('predict', run_dir=run.path, **_output_flags(task))} {_example(task)}".rstrip(),
        *([_command("search", run_dir=run.path, collection="FILE")] if task.kind == "dual_encoder" else []),
        *([_command("evaluate", run_dir=run.path)] if "test" in task.source.splits() else []),
        _command("export", run_dir=run.path, to=run.path / "saved_model"),
    ]
    return "Next:\n  " + "\n  ".join(lines)


def _output_flags(task):
    """Returns the flags by which images are written as a picture, and sounds as files."""
    if task.targets.modality == "sound":
        return {"to": "sounds"}
    if task.targets.modality not in ("image", "pixels"):
        return {}
    return {**({"sample": 16} if task.is_language_model else {}), "to": "picture.png"}


def _command(script: str, **flags: Any) -> str:
    given = [f"--{name}={_quoted(str(value))}" for name, value in flags.items()]
    return " ".join([f"{os.environ.get('KERAZOO_PROGRAM', 'python -m experiments.')}{script}", *given])


def _example(task):
    """Returns a short input of the dev examples as it is typed, or what stands for one."""
    if task.is_language_model and task.targets.modality != "text":
        return ""
    columns = [list(column[:MAX_ROWS]) for column in _first_columns(task)]
    if not (columns and columns[0]):
        return "INPUT"
    if not all(isinstance(column[0], str) for column in columns):
        data = str(task.options.get("data_dir", ""))
        if task.inputs[0].modality == "series":
            return _quoted(data) if pathlib.Path(data).is_file() else "FILE.csv"
        return "FILE.wav" if task.inputs[0].modality == "sound" else "FILE.png"
    if task.is_language_model:
        words = columns[0][0].split()
        return _quoted(" ".join(words[:3])) if words else "INPUT"
    rows = ["\t".join(row) for row in zip(*columns)]
    rows = [row for row in rows if row.strip() and not row.startswith("-")]
    if not rows:
        return "INPUT"
    text = min(rows, key=_effort)
    return _quoted(_with_gap(text) if task.targets.corrupts else text)


def _with_gap(text):
    """Returns a text with a gap in place of the word in its middle."""
    words = text.split()
    words[len(words) // 2] = "<mask>"
    return " ".join(words)


def _effort(text):
    """Returns what makes a text hard to type: its length beyond some characters, and what must be escaped."""
    return max(len(text), MAX_CHARACTERS), "'" in text or printable(text) != text


def _first_columns(task):
    """Returns the beginning of the raw columns of the dev examples, an empty list where there are none."""
    with contextlib.suppress(_checks.NoExamplesError):
        for chunk in task.chunks("dev"):
            return [chunk.columns[name] for name in task.input_columns]
    return []


def _quoted(text):
    """Returns a text as bash reads it, on one line."""
    if printable(text) == text:
        return shlex.quote(text)
    return "$'" + printable(text.replace("\\", "\\\\").replace("'", "\\'")) + "'"
