"""The model card `README.md` of an exported model: what it is, how it was made and measured, how it is called."""

import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kerazoo import _files

CARD = "README.md"
UNKNOWN = "not stated"


def model_card(model: Any, task: Any, use: str, about: Mapping[str, Any]) -> str:
    """Returns the model card as Markdown; what is not known it says.

    Args:
        model: a built model.
        task: `kerazoo.tasks.Task`.
        use: string. How the folder is used, and what its files are, as sections of Markdown.
        about: dict of plain values. `model` and `task`, their names; `model_options` and `task_options`; `reference` of
            the model; `training`, lines of text; `results`, what evaluations returned by the split; `licence` of the
            data; `search` and `max_length`. Each may be missing.
    """
    parts = [
        f"# {about.get('model') or type(model).__name__}: {task.name}",
        _summary(model, task, about),
        use,
        "## Model\n\n" + _lines(_model_rows(model, task, about)),
        "## Data\n\n" + _lines(_data_rows(task, about)),
        "## Measures\n\n" + _measures(about.get("results") or {}),
        "## Limits\n\n" + _limits(task, about),
    ]
    return "\n\n".join(parts) + "\n"


def use_of_saved_model(task: Any, signatures: Mapping[str, Any], functions: Mapping[str, Any]) -> str:
    """Returns how a SavedModel is used: an example, its signatures and its files.

    Args:
        task: `kerazoo.tasks.Task`.
        signatures: dict of name to `Signature`.
        functions: dict of name to the `tf.function` of each.
    """
    parts = [
        "## Use\n\n" + _use(task, signatures, functions),
        "## Signatures\n\n" + _signature_table(signatures, functions),
        "## Files\n\n" + FILES,
    ]
    return "\n\n".join(parts)


def write_card(folder: str | os.PathLike, format: str, model: Any, task: Any, about: Mapping[str, Any]) -> None:
    """Writes the model card of a folder of another format than a SavedModel, which has one.

    Args:
        folder: string or path. The folder.
        format: string. `"ctranslate2"`, `"onnx"`, `"litert"` or `"safetensors"`.
        model: a built model.
        task: `kerazoo.tasks.Task`.
        about: dict. As for `model_card`.
    """
    _files.write_file(pathlib.Path(folder) / CARD, model_card(model, task, use_of_format(format, task), about))


DRIVERS = {
    "ctranslate2": ("run_ctranslate2", "of CTranslate2"),
    "litert": ("run_network", "of LiteRT"),
    "onnx": ("run_network", "of ONNX"),
}


def use_of_format(format: str, task: Any) -> str:
    """Returns how a folder of another format is used.

    Args:
        format: string. `"ctranslate2"`, `"onnx"`, `"litert"` or `"safetensors"`.
        task: `kerazoo.tasks.Task`.
    """
    if format == "safetensors":
        return WEIGHTS_USE
    module, what = DRIVERS[format]
    inputs = ", ".join(f'"{name}": [...]' for name in task.signature)
    return f"""## Use

```python
from {module} import Model  # in this folder; it needs no kerazoo

model = Model("FOLDER")
model({{{inputs}}})
```

## Files

The files {what}, `kerazoo.json` with the ids of special tokens and the names of classes, and where inputs or
predictions are texts the SavedModel `tokenizer`. {VERIFIED}"""


VERIFIED = """`VERIFY.json`, where the model was verified, has examples with the outputs of the model that was exported;
`kerazoo.verify(FOLDER)` compares again."""

WEIGHTS_USE = f"""## Use

```python
from run_safetensors import load  # in this folder; it needs kerazoo

model = load("FOLDER")
```

## Files

`model.safetensors` has the weights by their paths, `model.json` the name of the model and its options, `task` what
`kerazoo.tasks.restore` reads. {VERIFIED}"""


FILES = """`saved_model.pb` and `variables/` are the SavedModel: stock operations of TensorFlow, with the tokenizers,
the search and the scaling of numbers inside. `VERIFY.json`, where the model was verified, has examples with the outputs
of the model that was exported, and how a process with TensorFlow alone agreed; `kerazoo.verify(FOLDER)` compares
again."""


def _summary(model, task, about):
    inputs = (
        " and ".join(f"{feature.modality} ({', '.join(feature.columns)})" for feature in task.inputs)
        or f"the beginning of a {task.targets.modality}"
    )
    target = f"{task.targets.modality} ({', '.join(task.targets.columns)})"
    version = f" {about['kerazoo']}" if about.get("kerazoo") else ""
    return (
        f"Kind: {task.kind.replace('_', ' ')}, from {inputs} to {target}, with {model.count_params():,} parameters. "
        f"Exported by kerazoo{version}."
    )


def _use(task, signatures, functions):
    """Returns an example in Python and one of HTTP."""
    specs = signatures["serving_default"].inputs
    outputs = functions["serving_default"].get_concrete_function().structured_outputs
    values = ", ".join(f"{name}=tf.constant({_example(spec)})" for name, spec in specs.items())
    first = next((name for name in task.targets.outputs if name in outputs), next(iter(outputs)))
    instance = ", ".join(f'"{name}": {_json_example(spec)}' for name, spec in specs.items())
    modules = "import tensorflow as tf" if "numpy" not in values else "import numpy\nimport tensorflow as tf"
    return f"""```python
{modules}

serve = tf.saved_model.load("FOLDER").signatures["serving_default"]
serve({values})["{first}"]
```

`python -m experiments.serve --model=FOLDER` and TensorFlow Serving answer
`POST /v1/models/NAME:predict` with `{{"instances": [{{{instance}}}]}}`."""


def _example(spec):
    shape = [size or 1 for size in spec.shape[1:]]
    if spec.dtype.name == "string":
        return '["..."]' if not shape else "..."
    return f"numpy.zeros({(1, *shape)!r}, {spec.dtype.name!r})"


def _json_example(spec):
    return '"..."' if spec.dtype.name == "string" else f"[... {spec.dtype.name} {_shape(spec.shape[1:])}]"


def _signature_table(signatures, functions):
    rows = ["| signature | takes | gives | |", "|---|---|---|---|"]
    for name, signature in signatures.items():
        outputs = functions[name].get_concrete_function().structured_outputs
        takes = [
            f"{_value(key, spec)}{f' = {signature.defaults[key]}' if key in signature.defaults else ''}"
            for key, spec in signature.inputs.items()
        ]
        gives = [_value(key, value) for key, value in outputs.items()]
        rows.append(f"| `{name}` | {_listed(takes)} | {_listed(gives)} | {signature.about} |")
    return "\n".join(rows) + (
        "\n\nThe first axis of all inputs with axes is the batch, of any size. Inputs with a default may be left out "
        "of a request to a server; in Python all are given."
    )


def _listed(values: Sequence[str], limit: int = 8) -> str:
    more = [f"and {len(values) - limit} more"] if len(values) > limit else []
    return ", ".join([*values[:limit], *more])


def _value(name, spec):
    return f"`{name}` {spec.dtype.name} {_shape(spec.shape)}"


def _shape(shape):
    if shape.rank is None:
        return "of any shape"
    return "[" + ", ".join("?" if size is None else str(size) for size in shape) + "]"


def _model_rows(model, task, about):
    sizes = sum(np.prod(v.shape) * np.dtype(_dtype(v)).itemsize for v in model.variables)
    rows = {
        "class": type(model).__name__,
        "parameters": f"{model.count_params():,} ({sizes / 1e6:,.1f} MB of weights)",
        "options": _options(about.get("model_options")),
        "configuration from": about.get("reference") or UNKNOWN,
    }
    if task.targets.generated:
        if about.get("search") is not None:
            rows["search of `serving_default`"] = _search(about["search"])
        rows["largest number of tokens"] = str(about.get("max_length") or task.max_length)
        ids = {name: getattr(model, name) for name in ("start_id", "end_id", "pad_id")}
        rows["token ids"] = ", ".join(f"`{name}` {value}" for name, value in ids.items())
    for name, value in (about.get("training") or {}).items():
        rows[name] = value
    return rows


def _dtype(variable):
    return "uint16" if "bfloat16" in str(variable.dtype) else str(variable.dtype)


def _search(search):
    values = {
        name: value
        for name, value in vars(search).items()
        if isinstance(value, str | int | float) and not name.startswith("_")
    }
    if search.constraints:
        values["constraints"] = ", ".join(repr(each) for each in search.constraints)
    if search.stop_strings is not None:
        values["stop_strings"] = ", ".join(map(repr, search.stop_strings.strings))
    if search.shortlist is not None:
        values["shortlist"] = f"{search.shortlist.size:,} of {search.shortlist.vocabulary_size:,} tokens"
    return f"{type(search).__name__.lower()} {_options(values) if values else ''}".rstrip()


def _data_rows(task, about):
    rows = {"task": about.get("task") or task.name, "options": _options(about.get("task_options"))}
    rows["licence"] = about.get("licence") or f"{UNKNOWN}; add it here before the model is passed on"
    for role, tokenizer in task.tokenizers.items():
        rows[f"tokens of the {role}"] = (
            f"{getattr(tokenizer, 'registered_name', type(tokenizer).__name__)}, {tokenizer.vocabulary_size:,} ids"
        )
    if task.targets.modality == "label":
        names = task.targets.names
        rows["classes"] = _listed([f"`{name}`" for name in names], 30)
    return rows


def _measures(results):
    if not results:
        return (
            "This model was not evaluated before it was exported: `python -m experiments.evaluate --run_dir=RUN` "
            "measures it, and a later export has the measures here."
        )
    lines = ["| split | examples | measure | value | 95 % interval | baseline |", "|---|---|---|---|---|---|"]
    for split, found in results.items():
        measures, intervals = found["metrics"], found.get("intervals", {})
        for name, value in measures.items():
            if name.startswith("baseline."):
                continue
            simple = measures.get(f"baseline.{name}")
            interval = intervals.get(name)
            cells = [split, f"{found['examples']:,}", name, f"{value:.4f}",
                     "not computed" if interval is None else "{:.4f} to {:.4f}".format(*interval),
                     "none" if simple is None else f"{simple:.4f}"]  # fmt: skip
            lines.append("| " + " | ".join(cells) + " |")
    baselines = {found["baseline"] for found in results.values() if found.get("baseline")}
    return "\n".join(lines) + "".join(f"\n\nThe baseline is: {each}." for each in sorted(baselines))


def _limits(task, about):
    parts = [
        f"an input of {feature.modality} is cut after {feature.max_length} tokens"
        for feature in task.inputs
        if feature.modality == "text"
    ]
    if task.targets.generated:
        parts.append(f"a prediction ends after {about.get('max_length') or task.max_length} tokens")
    parts.append("it predicts what is like its training data, and nothing tells it when an input is not")
    text = "; ".join(parts)
    return f"{text[:1].upper()}{text[1:]}."


def _options(options):
    if not options:
        return "the defaults"
    return ", ".join(f"`{name}={value}`" for name, value in options.items() if value is not None)


def _lines(rows):
    return "\n".join(f"- {name}: {value}" for name, value in rows.items())
