"""What several devices cost in memory and exchanged bytes: `transformer_seq2seq_big` on paper, small cases measured.

The figures of the large model are computed from the sizes of the model and the assumptions below, and none of them is
measured. `--measure` trains a small model on four virtual devices of this processor and counts the bytes that XLA's
program exchanges in one step, beside what the same formulas give for it.
"""

import dataclasses
import math
import os
import pathlib
import re
import subprocess
import sys
import tempfile
from typing import Any

from absl import flags

FLAGS = flags.FLAGS

# The assumptions, of one NVIDIA H100 SXM (data sheet of NVIDIA) in nodes of eight.
PEAK = 989e12  # operations a second of dense products in bfloat16
REACHED = 0.4  # share of the peak that the products of this model reach
NODE = 8  # devices of a node
INSIDE = 450e9  # bytes a second, each way, between the devices of a node (NVLink)
BETWEEN = 50e9  # bytes a second that each device has to other nodes (400 Gbit/s)
TOKENS = 4096  # of the source, and as many of the target, for each device of the axis `data`
LENGTH = 32  # of a sentence, for the scores of attention
ACTIVATION, GRADIENT, STATE = 2, 4, 16  # bytes: bfloat16; float32; weight, gradient and two moments of Adam in float32

MESHES = ((8, 1), (4, 2), (64, 1), (8, 8), (512, 1), (64, 8))  # data, model
KINDS = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")
SMALL = {"vocabulary_size": 64, "layers": 2, "width": 32, "inner": 48, "tokens": 48}
MEASURED = ("data:4", "data:2,model:2", "data:1,model:4")


@dataclasses.dataclass(frozen=True)
class Sizes:
    """An encoder-decoder Transformer with tied embeddings and a norm after each sublayer.

    Args:
        vocabulary_size: int. Words.
        layers: int. Layers of the encoder, and as many of the decoder.
        width: int. Width of the residual stream.
        inner: int. Width inside of the feed-forward sublayer.
    """

    vocabulary_size: int = 37000
    layers: int = 6
    width: int = 1024
    inner: int = 4096

    def divided(self) -> int:
        """Returns the number of weights that the axis `model` divides, by the table of layouts."""
        attention, expand = 4 * self.width**2 + 3 * self.width, self.width * self.inner
        feed_forward = 2 * expand + self.inner
        return self.vocabulary_size * self.width + self.layers * (3 * attention + 2 * feed_forward)

    def whole(self) -> int:
        """Returns the number of weights that each device holds: biases after a sum, and norms."""
        return self.layers * self.width * ((2 + 2 * 2) + (3 + 2 * 3))

    def products(self) -> float:
        """Returns the operations of the products in one step for one token of source and target, three passes."""
        encoder = 4 * self.width**2 + 2 * self.width * self.inner
        decoder = 8 * self.width**2 + 2 * self.width * self.inner
        scores = 3 * 2 * LENGTH * self.width  # three attentions
        return 6.0 * (self.layers * (encoder + decoder + scores) + self.vocabulary_size * self.width)

    def sums(self) -> int:
        """Returns how many tensors [tokens, width] the devices of `model` add up in one step.

        In an encoder layer two forward and two backward, in a decoder layer three and four (one of them for the encoded
        source), and both embeddings and the gradient of the head.
        """
        return self.layers * (2 + 2 + 3 + 4) + 3


def exchanged(sizes: Sizes, data: int, model: int, tokens: int, activation: int = ACTIVATION) -> dict[str, float]:
    """Returns the bytes that are added up over the devices in one step, of each device.

    Args:
        sizes: `Sizes`.
        data: int. Devices of the axis `data`.
        model: int. Devices of the axis `model`.
        tokens: int. Tokens of the target, and of the source, for each device of `data`.
        activation: int. Bytes of a number of an activation.
    """
    held = sizes.divided() / model + sizes.whole()
    return {
        "gradients": GRADIENT * held if data > 1 else 0.0,
        "activations": activation * tokens * sizes.width * sizes.sums() if model > 1 else 0.0,
    }


def memory(sizes: Sizes, model: int, tokens: int) -> dict[str, float]:
    """Returns the bytes on each device: the state, the activations, and the logits with their gradient.

    An encoder layer keeps `10 + 24 / model` bytes for each token and unit of the width (Korthikanti et al. 2022,
    arXiv:2205.05198, without rematerialization and without the scores); a decoder layer, with a third sublayer, 1.4
    times as many.
    """
    layer = (10 + 24 / model) * tokens * sizes.width
    return {
        "state": STATE * (sizes.divided() / model + sizes.whole()),
        "activations": sizes.layers * 2.4 * layer,
        "logits": 2 * 4 * tokens * sizes.vocabulary_size / model,
    }


def all_reduce_seconds(size: float, devices: int, inside: int) -> float:
    """Returns the seconds of a sum over devices, of which `inside` share a node: a ring inside, then between nodes."""
    nodes = math.ceil(devices / inside)
    seconds = 2 * size * (inside - 1) / inside / INSIDE
    return seconds + 2 * size / inside * (nodes - 1) / nodes / BETWEEN


def simulate(sizes: Sizes, data: int, model: int) -> dict[str, Any]:
    """Returns what one mesh costs: bytes on each device, bytes exchanged, and the expected efficiency."""
    found, sums = memory(sizes, model, TOKENS), exchanged(sizes, data, model, TOKENS)
    compute = sizes.products() * TOKENS / model / (PEAK * REACHED)
    gradients = all_reduce_seconds(sums["gradients"], data, max(1, min(data, NODE // model)))
    activations = all_reduce_seconds(sums["activations"], model, min(model, NODE)) if model > 1 else 0.0
    # The gradients of a layer can be added up while those of the layer before are computed: two thirds of the step.
    hidden = max(0.0, gradients - 2 / 3 * compute)
    return {
        "devices": data * model,
        "mesh": f"data:{data}" + (f",model:{model}" if model > 1 else ""),
        "memory": {name: round(value / 1e9, 2) for name, value in found.items()},
        "total": round(sum(found.values()) / 1e9, 2),
        "gradients": round(sums["gradients"] / 1e6),
        "activations": round(sums["activations"] / 1e6),
        "milliseconds": round(1000 * compute, 1),
        "one_after_the_other": round(compute / (compute + gradients + activations), 2),
        "overlapped": round(compute / (compute + hidden + activations), 2),
    }


def results() -> list[dict[str, Any]]:
    """Returns a row for each mesh, or with `--measure` for each measured one."""
    if FLAGS.measure:
        return [measured(mesh) for mesh in MEASURED]
    return [simulate(Sizes(), data, model) for data, model in MESHES]


def table(rows: list[dict[str, Any]]) -> str:
    """Returns the rows as a table of Markdown."""
    if "measured" in rows[0]:
        lines = ["| mesh | exchanged in one step, by the formulas | by XLA's program | of which not sums |"]
        lines.append("|---|---|---|---|")
        for row in rows:
            rest = sum(value for kind, value in row["kinds"].items() if kind != "all-reduce")
            lines.append(f"| `{row['mesh']}` | {row['formula']:,} | {row['measured']:,} | {rest:,} |")
        return "\n".join(lines)
    lines = [
        "| devices | mesh | GB on each: state + activations + logits | MB added up: gradients | activations | "
        "ms of products | efficiency, one after the other | gradients during the backward pass |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        parts = " + ".join(f"{value:.2f}" for value in row["memory"].values())
        lines.append(
            f"| {row['devices']} | `{row['mesh']}` | {row['total']:.2f} = {parts} | {row['gradients']:,} | "
            f"{row['activations']:,} | {row['milliseconds']} | {row['one_after_the_other']:.0%} | "
            f"{row['overlapped']:.0%} |"
        )
    return "\n".join(lines)


def measured(mesh: str) -> dict[str, Any]:
    """Returns the bytes that the compiled step of a small model exchanges on four virtual devices."""
    axes = {name: int(size) for name, _, size in (part.partition(":") for part in mesh.split(","))}
    data, model = axes["data"], axes.get("model", 1)
    with tempfile.TemporaryDirectory() as folder:
        given = f"--xla_force_host_platform_device_count=4 --xla_dump_to={folder} --xla_dump_hlo_as_text"
        given += " --xla_backend_optimization_level=0"
        environment = {**os.environ, "KERAS_BACKEND": "jax", "XLA_FLAGS": given}
        line = [sys.executable, "-m", "experiments.benchmarks.device_costs", mesh]
        done = subprocess.run(line, capture_output=True, text=True, env=environment)
        if done.returncode:
            raise RuntimeError(done.stderr[-2000:])
        programs = sorted(pathlib.Path(folder).glob("*loop*after_optimizations.txt"))
        kinds = max((exchanged_of(path.read_text()) for path in programs), key=lambda found: sum(found.values()))
    small = Sizes(SMALL["vocabulary_size"], SMALL["layers"], SMALL["width"], SMALL["inner"])
    formula = exchanged(small, data, model, SMALL["tokens"], activation=4)
    return {"mesh": mesh, "formula": round(sum(formula.values())), "measured": sum(kinds.values()), "kinds": kinds}


def exchanged_of(program: str) -> dict[str, int]:
    """Returns the bytes of the results of each kind of exchange in a program of XLA, as text."""
    widths = {"f32": 4, "bf16": 2, "s32": 4, "u32": 4, "pred": 1, "f16": 2, "s64": 8, "u64": 8, "s8": 1, "u8": 1}
    found = dict.fromkeys(KINDS, 0)
    for shapes, kind in re.findall(rf"= (.*?) ({'|'.join(KINDS)})(?:-start)?\(", program):
        for name, dimensions in re.findall(r"(\w+)\[([\d,]*)\]", shapes):
            if name in widths:
                found[kind] += widths[name] * math.prod(int(size) for size in dimensions.split(",") if size)
    return found


def _train_small(mesh):
    """Trains the small model for a step, so that XLA writes its program down."""
    import keras
    import numpy as np

    import kerazoo as kz

    data = kz.training.distribution.parse_mesh(mesh)["data"]
    rows, length = SMALL["tokens"] * data // 8, 8
    rng = np.random.default_rng(0)
    tokens = rng.integers(3, SMALL["vocabulary_size"], (2, rows, length)).astype("int32")
    inputs, targets = {"source": tokens[0], "targets": tokens[1]}, tokens[1]
    with kz.training.distribution.choose("auto" if "model" in mesh else "data_parallel", mesh).scope():
        model = kz.models.TransformerSeq2Seq(
            source_vocabulary_size=SMALL["vocabulary_size"],
            target_vocabulary_size=SMALL["vocabulary_size"],
            num_encoder_layers=SMALL["layers"],
            num_decoder_layers=SMALL["layers"],
            hidden_dim=SMALL["width"],
            num_heads=4,
            intermediate_dim=SMALL["inner"],
            dropout=0.0,
        )
        model.build_from_inputs()
        model.compile(keras.optimizers.Adam(1e-3), kz.training.SparseCrossentropy())
        kz.training.fit(model, [(inputs, targets)], steps_per_execution=1)


if __name__ == "__main__":
    _train_small(sys.argv[1])
