"""Exports trained models for serving: raw inputs in, predictions out.

The functions are loaded when they are first used, so that a server imports no Keras for what it needs of them.
"""

from kerazoo import registry

_NAMES = {
    "Case": "verification",
    "OPTIONAL": "signatures",
    "TOLERANCE": "verification",
    "check_names": "signatures",
    "check_operations": "operations",
    "export": "saved_model",
    "export_ctranslate2": "ctranslate2_model",
    "export_litert": "network_files",
    "export_onnx": "network_files",
    "exported_search": "saved_model",
    "fresh_outputs": "verification",
    "measure_latency": "latency",
    "write_card": "model_card",
    "program_of": "verification",
    "read_cases": "verification",
    "seed_of": "generation",
    "verify": "verification",
    "with_several_results": "generation",
    "write_verified": "verification",
}

__all__ = sorted(_NAMES)

__getattr__, __dir__ = registry.lazy_names(__name__, _NAMES)
