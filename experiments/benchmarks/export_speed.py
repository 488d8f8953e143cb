"""Exported models of all formats beside each other: their sizes, the time of a call, and the memory."""

import pathlib
import statistics
from typing import Any

from absl import flags

import kerazoo as kz
from experiments import command

FLAGS = flags.FLAGS
BATCH_SIZES = (1, 16)
SECONDS = 3.0  # for each size in each turn


def results(folders: list[str]) -> list[dict[str, Any]]:
    """Returns a row for each folder, and for each way to call a network that generates.

    Args:
        folders: list of strings. Verified exports, whose examples are the inputs.
    """
    if not folders:
        raise command.UsageError("exports needs the folders of exported models: exports FOLDER FOLDER.")
    calls = {}
    for folder in folders:
        calls |= {(folder, name): options for name, options in _calls(folder).items()}
    found: dict[tuple, list[dict]] = {call: [] for call in calls}
    for _ in range(FLAGS.repeats):  # in turn, so that a slow minute of the machine affects all of them
        for (folder, name), options in calls.items():
            measured = kz.export.measure_latency(folder, None, BATCH_SIZES, SECONDS, options)
            found[folder, name].append(measured)
    return [_row(folder, name, each) for (folder, name), each in found.items()]


def table(rows: list[dict[str, Any]]) -> str:
    """Returns the rows as a table."""
    width = max(len(row["model"]) for row in rows)
    name_width = max(len(row["call"]) for row in rows)
    heads = "".join(f"  ms for {size:<2}" for size in BATCH_SIZES)
    lines = [f"{f'medians of {FLAGS.repeats}':{width}}  {'':{name_width}}     KB{heads}    MiB"]
    for row in rows:
        times = "".join(f"  {row[f'ms_{size}']:9.2f}" for size in BATCH_SIZES)
        lines.append(f"{row['model']:{width}}  {row['call']:{name_width}}  {row['kb']:5,}{times}  {row['mib']:5,}")
    return "\n".join(lines)


def _calls(folder):
    """Returns the options of the calls of an export by a name."""
    form, cases, record = kz.export.read_cases(folder)
    stored = record.get("quantize", "float32")
    if form == "ctranslate2":
        beams = FLAGS.num_beams
        return {f"{form} {stored}, {f'beam of {beams}' if beams > 1 else 'greedy'}": {"num_beams": beams}}
    if cases[0].signature == "step":
        names = [each.signature for each in cases if each.signature in ("step", "generate")]
        return {f"{form} {stored}, {name}": {} if name == "step" else {"function": name} for name in names}
    return {f"{form} {stored}" if form != "saved_model" else form: {}}


def _row(folder, name, found):
    path = pathlib.Path(folder)
    size = sum(each.stat().st_size for each in path.rglob("*") if each.is_file())
    times = {
        f"ms_{size}": round(1000 * statistics.median(each["seconds"][size] for each in found), 3)
        for size in BATCH_SIZES
    }
    memory = round(statistics.median(each["memory"] for each in found) / 2**20)
    return {"model": path.name, "call": name, "kb": round(size / 1000), **times, "mib": memory}
