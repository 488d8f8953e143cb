"""TensorBoard gets samples, pictures, options and measures of an evaluation, in place of those before it."""

import numpy as np
import pytest

from kerazoo import run
from kerazoo.run import report
from kerazoo.run.sample_table import Sample

IMAGE = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
RECORD = {"model": "m", "model_options": {"units": (3, 4)}, "task": "t", "task_options": {"data_dir": "d"},
          "training": {"seed": 5, "teacher": None}, "import": [], "schedule": {"start": 0, "end": 7}}  # fmt: skip


def test_the_events_of_an_evaluation(tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    folder = run.RunDirectory(tmp_path)
    folder.checkpoints.mkdir()
    folder.save_record(RECORD)
    result = {"metrics": {"f1": 0.5, "baseline.f1": 0.25}, "examples": 3, "seconds": 0.1}
    report.write(folder, result, "dev", [Sample(IMAGE, ["a"], "b")])
    assert not folder.events.exists()  # a run that was trained without
    folder.events.mkdir()
    for _ in range(2):
        report.write(folder, result, "dev", [Sample(IMAGE, ["<i>"], "b")])
    assert len(list((folder.events / "dev").iterdir())) == 1
    found = accumulator.EventAccumulator(str(folder.events / "dev")).Reload()
    (scalar,) = found.Scalars("evaluation/f1")
    assert (scalar.step, scalar.value) == (7, 0.5)
    (picture,) = found.Images("pictures/dev-1.png")
    assert picture.encoded_image_string == (folder.path / "pictures" / "dev-1.png").read_bytes() and picture.width > 99
    (samples,) = found.Tensors("samples of dev")
    assert "\\\\<i\\\\>" in str(samples.tensor_proto.string_val) and "prediction" in str(samples.tensor_proto)
    content = found.PluginTagToContent("hparams")["_hparams_/session_start_info"]
    for each in (b"model_options.units", b"[3, 4]", b"training.seed", b"task_options.data_dir"):
        assert each in content
    assert b"teacher" not in content
