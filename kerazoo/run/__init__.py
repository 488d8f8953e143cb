"""Run directories: train into one, evaluate it, load it as a function, export it.

The functions are loaded when they are first used, so that listing the options of a run imports no TensorFlow.
"""

from kerazoo import registry

_NAMES = {
    "DevErrors": "anomalies",
    "FittedShortlist": "shortlists",
    "Found": "search_index",
    "Index": "search_index",
    "Prediction": "predictor",
    "Probe": "linear_probe",
    "Predictor": "predictor",
    "Reconstruction": "anomalies",
    "RunDirectory": "directory",
    "Start": "start",
    "Texts": "search_index",
    "TrainingOptions": "options",
    "compare": "comparison",
    "compress": "compression",
    "compare_results": "reproduction",
    "evaluate": "evaluation",
    "evaluate_search": "retrieval",
    "finetune": "finetuning",
    "export": "export_run",
    "find_refusal": "memory",
    "fit_shortlist": "shortlists",
    "inspect_run": "inspection",
    "future_table": "predictor",
    "load": "load_run",
    "printable": "control_characters",
    "probe": "linear_probe",
    "Reproduced": "reproduction",
    "publish_search": "retrieval",
    "read_judgments": "retrieval",
    "read_texts": "search_index",
    "reproduce": "reproduction",
    "train": "trainer",
    "window_table": "anomalies",
    "write_features": "layer_features",
    "write_image_grid": "pictures",
    "write_series_picture": "pictures",
    "windows_of_file": "anomalies",
    "write_vectors": "embeddings",
}

__all__ = sorted(_NAMES)

__getattr__, __dir__ = registry.lazy_names(__name__, _NAMES)
