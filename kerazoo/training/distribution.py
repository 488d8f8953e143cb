"""The devices that train a model: one, copies of the model on several, or a mesh that divides data and weights."""

import contextlib
import dataclasses
import math
from collections.abc import Iterator, Mapping
from typing import Any

import keras

from kerazoo import _checks
from kerazoo.training import processes
from kerazoo.training.pair_losses import InBatchCrossentropy

PLACEMENTS = ("auto", "single", "mirrored", "data_parallel", "model_parallel")
AXES = ("data", "model")
OF_BACKEND = {
    "tensorflow": ("single", "mirrored"),
    "jax": ("single", "data_parallel", "model_parallel"),
}


@dataclasses.dataclass(frozen=True)
class Placement:
    """Where a model and its batches lie.

    Args:
        name: string, one of `PLACEMENTS` but `"auto"`.
        mesh: dictionary of axis to its number of devices: `data` divides each batch, `model` the weights and the
            state of the optimizer. Defaults to `{}`, one device.
    """

    name: str
    mesh: Mapping[str, int] = dataclasses.field(default_factory=dict)

    def __str__(self):
        sizes = ",".join(f"{axis}:{size}" for axis, size in self.mesh.items())
        count = processes.count()
        return self.name + (f" on {sizes}" if sizes else "") + (f" in {count} processes" if count > 1 else "")

    @property
    def devices(self) -> int:
        """The number of devices of all processes."""
        return math.prod(self.mesh.values())

    @contextlib.contextmanager
    def scope(self) -> Iterator[None]:
        """Within it models are built and compiled for these devices."""
        if self.name == "mirrored":
            from kerazoo.training import _strategies

            with _strategies.strategy(self.devices).scope():
                yield
        else:
            with self.fit_scope():
                yield

    @contextlib.contextmanager
    def fit_scope(self) -> Iterator[None]:
        """Within it such a model is trained and evaluated; `one_device` ends it for a while."""
        parallel = self.name in ("data_parallel", "model_parallel")
        with _in_force(self._distribution() if parallel else None):
            yield

    def _distribution(self):
        import jax
        import numpy as np

        devices = np.array(jax.devices()[: self.devices])
        mesh = keras.distribution.DeviceMesh(tuple(self.mesh.values()), list(self.mesh), devices)
        if self.name == "data_parallel":
            return keras.distribution.DataParallel(device_mesh=mesh, auto_shard_dataset=False)
        from kerazoo.training.layouts import DividedWeights

        return DividedWeights(mesh)


@contextlib.contextmanager
def one_device() -> Iterator[None]:
    """Within it models are built and used on one device of this process, while one on several is trained."""
    with _in_force(None):
        yield


def scope_of(model: keras.Model) -> contextlib.AbstractContextManager:
    """Returns the scope in which more variables of a built model are created, such as those of its optimizer."""
    strategy = getattr(model, "distribute_strategy", None)  # None but on TensorFlow
    return contextlib.nullcontext() if strategy is None else strategy.scope()


@contextlib.contextmanager
def _in_force(distribution):
    before = keras.distribution.distribution()
    keras.distribution.set_distribution(distribution)
    try:
        yield
    finally:
        keras.distribution.set_distribution(before)


def choose(
    placement: str = "auto",
    mesh: str | Mapping[str, int] = "",
    loss: Any = None,
    dtype: str = "float32",
    gradient_accumulation_steps: int = 1,
) -> Placement:
    """Returns where a model is trained.

    Args:
        placement: string. `"single"` for one device. `"mirrored"`, on TensorFlow, has a copy of the model on each GPU
            of the machine, or on the cores of a TPU, which nobody has tried yet. `"data_parallel"`, on JAX, divides
            each batch among the devices of all processes, and `"model_parallel"` the weights and the state of the
            optimizer as well. `"auto"` is one device if there is one; else `"mirrored"` on TensorFlow if it supports
            the other arguments, and on JAX `"data_parallel"`, or `"model_parallel"` if `mesh` has the axis `model`.
            Defaults to `"auto"`.
        mesh: string or dictionary. The number of devices of each axis, `"data:4"` or `"data:4,model:2"`. Defaults to
            `""`: all devices, of which those of one process are the axis `model` of `"model_parallel"`.
        loss: `keras.losses.Loss`. `"mirrored"` refuses one that compares the examples of a batch with each other, of
            which each copy has a part. Defaults to `None`.
        dtype: string. The dtype policy; `"mirrored"` refuses `"mixed_float16"`. Defaults to `"float32"`.
        gradient_accumulation_steps: int. `"mirrored"` refuses more than 1. Defaults to `1`.

    Returns:
        A `Placement`.

    Raises:
        ValueError: if the backend has no such placement, or the mesh does not fit the devices.

    Example:

    ```python
    import keras

    import kerazoo as kz

    placement = kz.training.distribution.choose("single")
    with placement.scope():
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    print(placement)
    ```
    """
    owner = "distribution"
    _checks.one_of(owner, "placement", placement, PLACEMENTS)
    sizes = parse_mesh(mesh) if isinstance(mesh, str) else dict(mesh)
    backend = keras.backend.backend()
    supported = OF_BACKEND.get(backend, ("single",))
    if placement not in ("auto", *supported):
        other = next((name for name, found in OF_BACKEND.items() if placement in found), "jax")
        raise ValueError(
            f"{owner}: `placement` must be auto, {' or '.join(supported)} on the backend {backend}; got "
            f"placement={placement!r}. It runs on the backend {other}, with KERAS_BACKEND={other}."
        )
    if backend == "jax":
        return _on_jax(owner, placement, sizes)
    reason = _not_mirrored(loss, dtype, gradient_accumulation_steps)
    return _on_tensorflow(owner, placement, sizes, reason)


def parse_mesh(mesh: str) -> dict[str, int]:
    """Returns the number of devices of each axis of `"data:4,model:2"`.

    Raises:
        ValueError: if an axis is unknown or its number is none above 0.
    """
    sizes = {}
    for part in filter(None, mesh.split(",")):
        axis, _, size = part.partition(":")
        _checks.one_of("distribution", "mesh", axis, AXES)
        if not size.isdecimal() or int(size) < 1 or axis in sizes:
            raise ValueError(
                "distribution: `mesh` must be AXIS:NUMBER, each axis once, such as 'data:4,model:2'; got "
                f"mesh={mesh!r}."
            )
        sizes[axis] = int(size)
    return sizes


def _on_jax(owner, placement, sizes):
    import jax

    count, number = jax.device_count(), processes.count()
    if placement == "auto":
        placement = "model_parallel" if "model" in sizes else "data_parallel"
        if count == 1 and not sizes:
            return Placement("single")
    if placement == "single":
        if number > 1 or math.prod(sizes.values()) > 1:
            given = f"mesh={_text(sizes)!r}" if sizes else f"{number} processes"
            raise ValueError(f"{owner}: `placement` single is one device of one process; got {given}.")
        return Placement("single")
    if placement == "data_parallel":
        if "model" in sizes:
            raise ValueError(
                f"{owner}: `mesh` of data_parallel has the axis data only; got mesh={_text(sizes)!r}. "
                "Try placement='model_parallel'."
            )
        sizes = sizes or {"data": count}
    else:
        model = sizes.get("model", jax.local_device_count() if "data" not in sizes else count // sizes["data"])
        sizes = {"data": sizes.get("data", max(1, count // model)), "model": max(1, model)}
    needed = math.prod(sizes.values())
    if needed > count or (number > 1 and needed != count):
        exactly = "exactly " if number > 1 else ""
        raise ValueError(
            f"{owner}: `mesh` must have {exactly}the devices that there are, {count}; got mesh={_text(sizes)!r} with "
            f"{needed}."
        )
    return Placement(placement, sizes)


def _not_mirrored(loss, dtype, gradient_accumulation_steps):
    """Returns why copies cannot train like one model, the empty string if they can."""
    if isinstance(loss, InBatchCrossentropy):
        return f"the loss {loss.name} compares all examples of a batch, and each copy has a part of it"
    if dtype == "mixed_float16":
        return "each copy would scale its loss by itself; got dtype='mixed_float16'"
    if gradient_accumulation_steps > 1:
        return f"gradients are accumulated on one device; got gradient_accumulation_steps={gradient_accumulation_steps}"
    return ""


def _on_tensorflow(owner, placement, sizes, reason):
    from kerazoo.training import _strategies

    count = len(_strategies.devices())
    if "model" in sizes:
        raise ValueError(f"{owner}: `mesh` has the axis data only on TensorFlow; got mesh={_text(sizes)!r}.")
    wanted = sizes.get("data", count)
    if wanted > count:
        raise ValueError(f"{owner}: `mesh` must have the devices that there are, {count}; got mesh={_text(sizes)!r}.")
    if placement == "single" or (placement == "auto" and (wanted == 1 or reason)):
        if placement == "single" and wanted > 1 and sizes:
            raise ValueError(f"{owner}: `placement` single is one device; got mesh={_text(sizes)!r}.")
        return Placement("single")
    if reason:
        raise ValueError(
            f"{owner}: `placement` cannot be mirrored: {reason}. Try placement='single', or data_parallel with "
            "KERAS_BACKEND=jax."
        )
    return Placement("mirrored", {"data": wanted})


def _text(sizes):
    return ",".join(f"{axis}:{size}" for axis, size in sizes.items())
