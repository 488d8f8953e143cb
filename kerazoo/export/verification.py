"""Verifies in a fresh process, without kerazoo, that an exported model predicts the same as the live model."""

import base64
import dataclasses
import datetime
import hashlib
import importlib.metadata
import json
import os
import pathlib
import platform
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from kerazoo import _checks, _files
from kerazoo.export.operations import check_operations

RECORD = "VERIFY.json"
MEASURED = re.compile(r"(evaluation|predictions)-\w+\.jsonl?")  # what an evaluation writes beside a model
ERROR = re.compile(r"[\w.]+(Error|Exception): ")  # the line of a traceback that says what is wrong
FRAME = re.compile(r"\s*(\[\[|Detected at node|<stack traces|$)")  # what TensorFlow writes around its message
TOLERANCE = 1e-4
TIE = 1e-3  # between scores, at most, for which another answer is as good
# What the fresh process runs for each format.
PROGRAMS = {
    "saved_model": "run_saved_model.py",
    "ctranslate2": "run_ctranslate2.py",
    "litert": "run_network.py",
    "onnx": "run_network.py",
    "safetensors": "run_safetensors.py",
}
# The output whose rows are padded to the longest one; how long they are is another output.
PADDED = "frames"
# Outputs of several results by rank, of which those with equal scores may come in another order.
RANKED = ("answers", "tokens", "token_scores")
PACKAGES = ("kerazoo", "keras", "numpy", "tensorflow", "ctranslate2", "onnx", "onnxruntime", "ai-edge-litert")


@dataclasses.dataclass(frozen=True)
class Case:
    """Inputs of a signature, and the outputs of the live model for them.

    Args:
        signature: string. The name of the signature.
        inputs: dict of name to a list of strings or bytes, or an array.
        outputs: dict of name to a list, nested for several results, of strings, or an array; or a list of arrays.
        tolerance: float. The largest difference between two numbers, relative and absolute. Defaults to `1e-4`.
        options: dict of plain values. What the program of the format takes in addition: for the signature `step` of a
            SavedModel `start_id`, `pad_id` and `max_length`, with which it decodes token by token. Defaults to `None`.
    """

    signature: str
    inputs: Mapping[str, Any]
    outputs: Mapping[str, Any]
    tolerance: float = TOLERANCE
    options: Mapping[str, Any] | None = None


def verify(path: str | os.PathLike, tolerance: float | None = None, min_equal: float | None = None) -> dict[str, Any]:
    """Compares an exported model with the outputs that the live model gave when it was exported.

    A fresh process, which imports what the format needs and nothing of kerazoo, runs the examples of `VERIFY.json` in
    the folder of the model. Strings and token ids must be equal, and numbers close. An exported model that was changed
    since, such as by quantizing it, is compared as well; `tolerance` and `min_equal` say how far it may differ then.

    Args:
        path: string or path. The folder that an export wrote and verified.
        tolerance: float, at least 0. The largest difference between two numbers, relative and absolute. Defaults to
            `None`: that of the export, 1e-4 for most outputs.
        min_equal: float in [0, 1]. The share of the strings of an output that must be equal. Defaults to `None`: that
            of the export, which is 1 in float32.

    Returns:
        dict: `"passed"`, `"compared"` with the number of values, those that are equal and the largest difference for
        each output of each signature, and `"changed"`, the files that differ from those of the export.

    Raises:
        CheckpointError: if the folder was not verified when it was exported, the model does not load, it is a
            SavedModel with operations that do more than compute, or its outputs differ.
    """
    path = pathlib.Path(path)
    format, cases, record = read_cases(path)
    required = record.get("min_equal", 1.0) if min_equal is None else min_equal
    if tolerance is not None:
        cases = [dataclasses.replace(case, tolerance=tolerance) for case in cases]
    compared, difference = _compared(path, cases, format, required)
    files = record.get("files", {})
    now = _hashes(path)
    changed = sorted(name for name in {*files, *now} if files.get(name) != now.get(name))
    if difference:
        raise _checks.CheckpointError(f"{path}: {difference}")
    return {"passed": True, "compared": compared, "changed": changed}


def read_cases(path: str | os.PathLike) -> tuple[str, list[Case], dict[str, Any]]:
    """Returns the format of an exported model, the cases that it was compared by, and the whole of `VERIFY.json`.

    Args:
        path: string or path. The folder that an export wrote and verified.

    Raises:
        CheckpointError: if the folder was not verified when it was exported, or `VERIFY.json` is damaged.
    """
    path = pathlib.Path(path)
    try:
        record = _files.read_record(path / RECORD)
        format = _checks.one_of("verify", "format", record["format"], PROGRAMS)
        return format, [_case(each) for each in record["cases"]], record
    except FileNotFoundError as error:
        raise _checks.CheckpointError(
            f"{path}: has no {RECORD}, with which it could be compared. Export the model again with verify=True."
        ) from error
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise _checks.CheckpointError(f"{path / RECORD}: cannot be read: {error}") from error


def write_verified(
    path: str | os.PathLike,
    cases: Sequence[Case],
    about: Mapping[str, Any],
    format: str = "saved_model",
    exact: bool = True,
) -> dict[str, Any]:
    """Compares an exported model with the live one and writes `VERIFY.json` into its folder, also if they differ.

    Args:
        path: string or path. The folder of the exported model.
        cases: list of `Case`.
        about: dict of plain values that the record has as well.
        format: string. One of `PROGRAMS`. Defaults to `"saved_model"`.
        exact: bool. Whether the outputs must be those of the live model. Of a model in fewer bits it is measured how
            far they differ, and that is what `verify` requires of it later. Defaults to `True`.

    Returns:
        What was compared, as `verify` returns it.

    Raises:
        CheckpointError: if the model does not load, or its outputs differ.
    """
    path = pathlib.Path(path)
    if not exact:
        cases = [dataclasses.replace(case, tolerance=float("inf")) for case in cases]
    compared, difference = _compared(path, cases, format, float(exact))
    required = {}
    if not exact:
        cases = [dataclasses.replace(case, tolerance=_measured(compared[case.signature])) for case in cases]
        rows = [each for counts in compared.values() for name, each in counts.items() if name != "ties"]
        required["min_equal"] = min(each["equal"] / max(each["rows"], 1) for each in rows)
    record = {
        "format": format,
        "passed": not difference,
        "exact": exact,
        **required,
        "compared": compared,
        **about,
        "written": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M:%S UTC"),
        "versions": _versions(),
        "files": _hashes(path),
        "cases": [_plain_case(case) for case in cases],
    }
    _files.write_record(path / RECORD, record)
    if difference:
        raise _checks.CheckpointError(f"{path}: {difference}")
    return compared


class Job(NamedTuple):
    """One call of an exported model.

    Args:
        folder: string or path. The folder of the model.
        inputs: dict of name to a list of strings or bytes, or an array.
        signature: string. The name of the signature. Defaults to `"serving_default"`.
        options: dict of plain values, as those of a `Case`. Defaults to `None`.
    """

    folder: str | os.PathLike
    inputs: Mapping[str, Any]
    signature: str = "serving_default"
    options: Mapping[str, Any] | None = None


def fresh_outputs(jobs: Sequence[tuple], format: str = "saved_model") -> list[dict]:
    """Returns the outputs by name of each job, all from one fresh process without kerazoo.

    Args:
        jobs: list of `Job`, or of tuples of its fields.
        format: string. One of `PROGRAMS`, that of all folders. Defaults to `"saved_model"`.

    Raises:
        CheckpointError: if a SavedModel has operations that do more than compute, or a model cannot be loaded or run
            with what its format needs alone.
    """
    jobs = [Job(*job) for job in jobs]
    cases = [
        {
            "directory": os.fspath(job.folder),
            "signature": job.signature,
            "inputs": to_json(job.inputs),
            **({"options": dict(job.options)} if job.options else {}),
        }
        for job in jobs
    ]
    folders = list(dict.fromkeys(case["directory"] for case in cases))
    for folder in folders:
        check_folder(folder, format)
    return [from_json(each) for each in run_fresh(program_of(format), cases, ", ".join(folders))]


def check_folder(folder: str | os.PathLike, format: str) -> None:
    """Refuses SavedModels in a folder of a format whose operations do more than compute.

    Args:
        folder: string or path. The folder of an exported model.
        format: string. One of `PROGRAMS`.

    Raises:
        CheckpointError: if there is one.
    """
    tokenizer = pathlib.Path(folder) / "tokenizer"
    if format == "saved_model":
        check_operations(folder)
    elif os.path.lexists(tokenizer):
        check_operations(tokenizer)


def program_of(format: str) -> str:
    """Returns the code that a fresh process runs for a format."""
    return (pathlib.Path(__file__).parent / PROGRAMS[format]).read_text(encoding="utf-8")


def run_fresh(code: str, given: Any, names: str) -> Any:
    """Returns what Python code in a fresh process writes as JSON into the file of its first argument.

    Args:
        code: string. The code, which reads JSON from its standard input.
        given: plain values, which it reads.
        names: string. The models that it loads, as the message of an error has them.

    Raises:
        CheckpointError: if the process fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        file_name = os.path.join(folder, "outputs.json")
        done = subprocess.run(
            # One that needs no kerazoo does not find it either.
            [sys.executable, *([] if "import kerazoo\n" in code else ["-I"]), "-c", code, file_name],
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
            input=json.dumps(given),
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise _checks.CheckpointError(f"{names}: cannot be run in a fresh process: {_reason(done.stderr)}")
        with open(file_name, encoding="utf-8") as file:
            return json.load(file)


def _reason(stderr):
    """Returns the last error in what a process wrote: its line, and the next one that says more."""
    lines = [line for line in stderr.strip().splitlines() if not FRAME.match(line)]
    errors = [number for number, line in enumerate(lines) if ERROR.match(line)]
    kept = lines[errors[-1] :][:2] if errors else lines[-1:]
    return " ".join(kept)[:500] or "no message"


# Comparing.


def _compared(path, cases, format, min_equal):
    """Returns what was compared by signature and output, and the first difference in words, empty for none."""
    if not cases:  # else `fresh_outputs` does it
        check_folder(path, format)
    outputs = fresh_outputs([(path, case.inputs, case.signature, case.options) for case in cases], format)
    compared, differences = {}, []
    for case, found in zip(cases, outputs, strict=True):
        counts, first = _compare(case, found, min_equal)
        compared[case.signature] = counts
        differences += [first] if first else []
    return compared, (differences or [""])[0]


def _compare(case, found, min_equal):
    """Returns the counts of each output of a case, and the first difference in words."""
    counts, ties = {}, _ties(case, found)
    for name, expected in case.outputs.items():
        if name not in found or len(found[name]) != len(expected):
            given = f"{len(found[name])} rows of" if name in found else "no"
            return counts, f"{case.signature} gives {given} {name}, the live model {len(expected)} rows."
        served = found[name]
        if name == PADDED:
            served = [each[: len(live)] for live, each in zip(expected, served)]
        skipped = ties if name in RANKED and ties is not None else [None] * len(expected)
        rows = [_same(*row, case.tolerance) for row in zip(expected, served, skipped)]
        counts[name] = {
            "rows": len(rows),
            "values": sum(row.values for row in rows),
            "equal": sum(row.equal for row in rows),
            "largest_difference": max((row.gap for row in rows), default=0.0),
        }
        if counts[name]["equal"] < min_equal * len(rows):
            number = [row.equal for row in rows].index(False)
            return counts, (
                f"{case.signature} gives {name}={_short(served[number])} for {_input(case, number)}, the live model "
                f"{_short(expected[number])}."
            )
    if ties is not None and ties.any():
        counts["ties"] = int(ties.sum())
    return counts, ""


def _input(case, number):
    """Returns the inputs of a row of a case in words."""
    columns = [values for values in case.inputs.values() if isinstance(values, list) or np.ndim(values)]
    return ", ".join(_short(column[number]) for column in columns) or "nothing"


def _ties(case, found):
    """Returns where another answer has the same score, bools [B, N], or `None` for outputs without ranks."""
    if "answers" not in case.outputs or "scores" not in found:
        return None
    live, served = np.asarray(case.outputs["scores"]), np.asarray(found["scores"])
    if live.shape != served.shape:
        return None
    tolerance = min(case.tolerance, TIE)
    close = np.isclose(live, served, rtol=tolerance, atol=tolerance)
    other = [[_differs(a, b) for a, b in zip(*rows)] for rows in zip(case.outputs["tokens"], found["tokens"])]
    return close & np.array(other).reshape(live.shape)


def _differs(live, served):
    return not np.array_equal(live, served)


class _Row(NamedTuple):
    """How a row of an output agrees: whether it does, its largest difference, and the number of its values."""

    equal: bool
    gap: float
    values: int


def _same(live, served, skipped, tolerance):
    """Returns how a row agrees; `skipped` are the ranks that do not count."""
    if isinstance(live, str | bytes):
        return _Row(live == served, 0.0, 1)
    if isinstance(live, list | tuple) and live and isinstance(live[0], str):
        kept = [pair for rank, pair in enumerate(zip(live, served)) if skipped is None or not skipped[rank]]
        return _Row(len(live) == len(served) and all(a == b for a, b in kept), 0.0, len(live))
    live, served = np.asarray(live), np.asarray(served)
    if live.shape != served.shape:
        return _Row(False, float("inf"), live.size)
    if skipped is not None:
        live, served = live[~skipped], served[~skipped]
    if not live.size:
        return _Row(True, 0.0, 0)
    gap = np.abs(live.astype("float64") - served.astype("float64"))
    gap = np.where(live == served, 0.0, gap)  # of infinite numbers
    bound = 0.0 if live.dtype.kind in "iub" else tolerance * (1 + np.abs(live))
    return _Row(bool((gap <= bound).all()), float(gap.max()), live.size)


def _short(value):
    if isinstance(value, list) or np.ndim(value) > 1:
        return repr(value)[:60] if isinstance(value, list) else f"an array of shape {np.shape(value)}"
    text = repr(value) if isinstance(value, str | bytes) else np.array2string(np.asarray(value), threshold=8)
    return text if len(text) <= 60 else text[:57] + "..."


def _measured(counts):
    """Returns the tolerance of a model in fewer bits: twice the largest difference that it had."""
    return 2 * max([each["largest_difference"] for name, each in counts.items() if name != "ties"]) + TOLERANCE


# What the record holds.


def to_json(values: Any) -> Any:
    """Returns lists of strings or bytes and arrays, or a dict of them, as values of JSON.

    `from_json` reads them, and so do the programs of the formats.

    Args:
        values: dict, list, array, string or bytes.
    """
    if isinstance(values, Mapping):
        return {name: to_json(each) for name, each in values.items()}
    if isinstance(values, bytes):
        return {"base64": base64.b64encode(values).decode()}
    if isinstance(values, np.ndarray | np.generic) and values.dtype.kind not in "OSU":
        data = base64.b64encode(np.ascontiguousarray(values).tobytes()).decode()
        return {"dtype": values.dtype.str, "shape": list(values.shape), "base64": data}
    if isinstance(values, list | tuple | np.ndarray):
        items = list(values)
        if items and isinstance(items[0], str | bytes | list | tuple | np.ndarray):
            return [to_json(each) for each in items]
        return to_json(np.asarray(items))
    return values


def from_json(value: Any) -> Any:
    """Returns what `to_json` was given, with arrays in place of lists of numbers.

    Args:
        value: plain values.
    """
    if isinstance(value, Mapping):
        if "base64" in value:
            data = base64.b64decode(value["base64"])
            return np.frombuffer(data, value["dtype"]).reshape(value["shape"]) if "dtype" in value else data
        return {name: from_json(each) for name, each in value.items()}
    return [from_json(each) for each in value] if isinstance(value, list) else value


def _plain_case(case):
    fields = {"signature": case.signature, "tolerance": case.tolerance, "options": case.options}
    return {**fields, "inputs": to_json(case.inputs), "outputs": to_json(case.outputs)}


def _case(values):
    return Case(
        str(values["signature"]),
        from_json(values["inputs"]),
        from_json(values["outputs"]),
        float(values["tolerance"]),
        values.get("options"),
    )


def _hashes(path):
    """Returns the SHA-256 of each file of an exported model by its name, without what tells of it."""
    found = {}
    for file in sorted(path.rglob("*")):
        if file.is_file() and file.name not in (RECORD, "README.md") and not MEASURED.fullmatch(file.name):
            with open(file, "rb") as opened:
                found[file.relative_to(path).as_posix()] = hashlib.file_digest(opened, "sha256").hexdigest()
    return found


def _versions():
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
