"""What TensorBoard shows of a run beside its curves: samples, pictures, options with measures, and vectors."""

import importlib.util
import os
import pathlib
import struct
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from kerazoo import _files
from kerazoo.run.control_characters import printable

if TYPE_CHECKING:
    from kerazoo.run.directory import RunDirectory

PARTS = ("model_options", "task_options", "training", "found")  # of the record, whose options are listed


def write_evaluation(
    run: "RunDirectory", split: str, record: Mapping, result: Mapping, samples: str, rows: Sequence[Mapping]
) -> None:
    """Writes the events of an evaluation into `events/SPLIT`, in place of those before it.

    Nothing is written for a run without events, or where TensorBoard is not installed.

    Args:
        run: `RunDirectory`.
        split: string. What was evaluated.
        record: dict. The record of the run, whose options become hyperparameters.
        result: dict. The result, whose measures become scalars.
        samples: string. The samples as Markdown.
        rows: list of dicts. The samples, with the names of their pictures.
    """
    if not run.events.is_dir() or importlib.util.find_spec("tensorboard") is None:
        return
    from tensorboard.compat.proto import event_pb2, summary_pb2
    from tensorboard.plugins.hparams import api
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    folder = run.events / split
    _files.remove_folder(folder)
    events = EventFileWriter(os.fspath(folder))
    step = int(record.get("schedule", {}).get("end", 0))
    values = [summary_pb2.Summary.Value(tag=f"evaluation/{name}", simple_value=each)
              for name, each in result["metrics"].items()]  # fmt: skip
    if samples:
        values.append(_text_value(f"samples of {split}", samples))
    for row in rows:
        if row.get("picture"):
            values.append(_image_value(row["picture"], run.path / row["picture"]))
    summaries = [summary_pb2.Summary(value=values), api.hparams_pb(_options(record), trial_id=os.fspath(run.path))]
    for summary in summaries:
        events.add_event(event_pb2.Event(wall_time=time.time(), step=step, summary=summary))
    events.close()


def write_vectors(
    folder: pathlib.Path, vectors: np.ndarray, labels: Mapping[str, Sequence[str]], name: str = "vectors"
) -> None:
    """Writes vectors for the projector of TensorBoard, whose folder of events is `folder`.

    Args:
        folder: path. It gets `NAME.tsv`, `NAME-labels.tsv` and `projector_config.pbtxt`.
        vectors: float array `[N, D]`.
        labels: dictionary of the name of a column to N texts.
        name: string. The name of the vectors. Defaults to `"vectors"`.
    """
    numbers = ["\t".join(f"{value:.6g}" for value in row) for row in vectors.tolist()]
    rows = ["\t".join(map(printable, row)) for row in [tuple(labels), *zip(*labels.values())]]
    if len(labels) == 1:  # whose file has no head
        rows = rows[1:]
    _files.write_file(folder / f"{name}.tsv", "\n".join(numbers) + "\n")
    _files.write_file(folder / f"{name}-labels.tsv", "\n".join(rows) + "\n")
    paths = f'tensor_path: "{name}.tsv" metadata_path: "{name}-labels.tsv"'
    _files.write_file(folder / "projector_config.pbtxt", f'embeddings {{ tensor_name: "{name}" {paths} }}\n')


def _text_value(tag, text):
    from tensorboard.compat.proto import summary_pb2, tensor_pb2, types_pb2
    from tensorboard.plugins.text import metadata

    tensor = tensor_pb2.TensorProto(dtype=types_pb2.DT_STRING, string_val=[text.encode("utf-8", "replace")])
    return summary_pb2.Summary.Value(tag=tag, metadata=metadata.create_summary_metadata(tag, ""), tensor=tensor)


def _image_value(tag, path):
    """Returns a PNG file as a value; its size is in the bytes 16 to 23."""
    from tensorboard.compat.proto import summary_pb2

    content = path.read_bytes()
    width, height = struct.unpack(">II", content[16:24])
    image = summary_pb2.Summary.Image(height=height, width=width, colorspace=4, encoded_image_string=content)
    return summary_pb2.Summary.Value(tag=tag, image=image)


def _options(record: Mapping) -> dict[str, Any]:
    """Returns the options of a run as plain hyperparameters, those that are lists and the like as text."""
    found: dict[str, Any] = {"model": record["model"], "task": record["task"]}
    for part in PARTS:
        for name, value in record.get(part, {}).items():
            if value is not None:
                found[f"{part}.{name}"] = value if isinstance(value, bool | int | float | str) else str(value)
    return found
