"""Looks inside a model: attention, attribution, gates, embeddings, confusions, calibration, and the check of the shift.

Each idea has a function that returns arrays and one, `draw_...`, that returns a picture of them, the bytes of a PNG
file. Pictures need matplotlib: `pip install 'kerazoo[viz]'`.
"""

from kerazoo.inspect.attention_maps import attention_maps, draw_attention
from kerazoo.inspect.attribution import (
    IntegratedGradients,
    class_score,
    draw_attribution,
    integrated_gradients,
    mean_score,
    saliency,
    similarity_score,
    target_score,
)
from kerazoo.inspect.confusion import confusion_matrix, draw_confusion
from kerazoo.inspect.lstm_gates import LSTMGates, draw_gates, lstm_gates
from kerazoo.inspect.nearest import nearest
from kerazoo.inspect.occlusion import occlusion
from kerazoo.inspect.projection import Projection, draw_projection, project
from kerazoo.inspect.reliability import Calibration, calibration, draw_calibration, fit_temperature
from kerazoo.inspect.shift_check import check_shift

__all__ = [
    "Calibration", "IntegratedGradients", "LSTMGates", "Projection", "attention_maps", "calibration", "check_shift",
    "class_score", "confusion_matrix", "draw_attention", "draw_attribution", "draw_calibration", "draw_confusion",
    "draw_gates", "draw_projection", "fit_temperature", "integrated_gradients", "lstm_gates", "mean_score", "nearest",
    "occlusion", "project", "saliency", "similarity_score", "target_score",
]  # fmt: skip
