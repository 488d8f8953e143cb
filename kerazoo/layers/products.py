"""Products of inputs and a kernel whose gradients XLA computes fast on a CPU, and the dense layer made of them."""

import contextlib
import contextvars
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

import keras
from keras import ops

from kerazoo import _backend
from kerazoo.layers.computed_weight import FactorizedWeight, MultipliedWeight

WIDE = 1024  # columns of a kernel from which on the gradient is computed in another way
FEW = range(2, 13)  # numbers of rows for which XLA multiplies slowly with a transposed table

# By the identity of a layer, for loops that are traced now.
_transposed: contextvars.ContextVar[Mapping[int, Any]] = contextvars.ContextVar(
    "_transposed", default=MappingProxyType({})
)


@keras.saving.register_keras_serializable(package="kerazoo")
class Dense(keras.layers.Dense):
    """`keras.layers.Dense` with a faster gradient of a wide kernel, see `product`.

    With LoRA the inputs are multiplied by its thin matrices one after the other, where Keras makes the whole kernel.
    """

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        x = product(inputs, self._kernel if self.lora_enabled else self.kernel)
        if self.lora_enabled:
            a, b = (ops.cast(each, self.compute_dtype) for each in (self.lora_kernel_a, self.lora_kernel_b))
            x = x + (self.lora_alpha / self.lora_rank) * ops.matmul(ops.matmul(inputs, a), b)
        if self.bias is not None:
            x = ops.add(x, self.bias)
        return x if self.activation is None else self.activation(x)


@keras.saving.register_keras_serializable(package="kerazoo")
class ReversibleEmbedding(keras.layers.ReversibleEmbedding):
    """`keras.layers.ReversibleEmbedding` with faster logits of few rows, and a faster gradient of those of many tokens.

    See `transposed_once` and `product`.
    """

    def call(self, inputs: Any, reverse: bool = False) -> Any:
        table = self.embeddings
        if isinstance(table, FactorizedWeight):
            rows = table.multiply(inputs, transposed=True) if reverse else table.rows(ops.cast(inputs, "int32"))
            return ops.cast(rows, self.compute_dtype)
        if not reverse:
            return super().call(inputs)
        table = _transposed.get().get(id(self))
        if table is None:
            table = ops.transpose(ops.convert_to_tensor(self.embeddings))
        return product(inputs, table)

    @contextlib.contextmanager
    def transposed_once(self, num_rows: int | None) -> Iterator[None]:
        """A context in which logits are computed with a transposed copy of the table that is made on entering it.

        A loop that is traced inside has the copy as a constant. XLA on a CPU multiplies 2 to 12 rows with the table as
        it lies at half the speed. For other numbers of rows, and elsewhere, nothing is copied.

        Args:
            num_rows: int. Number of rows of which logits are computed at a time; `None` if it is not known.
        """
        is_plain = isinstance(self._embeddings, keras.Variable) and self.quantization_mode is None
        if num_rows not in FEW or self.input_dim < WIDE or not is_plain or not _backend.has_barrier():
            yield
            return
        table = _backend.barrier(ops.transpose(ops.convert_to_tensor(self.embeddings)))
        token = _transposed.set({**_transposed.get(), id(self): table})
        try:
            yield
        finally:
            _transposed.reset(token)


def product(x: Any, kernel: Any) -> Any:
    """Returns `matmul(x, kernel)`.

    The gradient of the kernel is the product of the transposed inputs and the gradient of the outputs. XLA on a CPU
    multiplies without transposing first, which takes about twice as long where the kernel has many columns; here the
    inputs are transposed first in that case.

    Args:
        x: float tensor `[..., D]`.
        kernel: float tensor `[D, V]`, or a `MultipliedWeight`.
    """
    if isinstance(kernel, MultipliedWeight):
        return kernel.multiply(x)
    if kernel.shape[-1] < WIDE or not _backend.has_barrier():
        return ops.matmul(x, kernel)
    return _wide_product(x, ops.convert_to_tensor(kernel))


@ops.custom_gradient
def _wide_product(x: Any, kernel: Any) -> tuple[Any, Callable[..., Any]]:
    def gradients(*args, upstream=None):
        (dy,) = args or (upstream,)  # [..., V]
        rows = ops.reshape(x, (-1, kernel.shape[0]))
        columns = _backend.barrier(ops.transpose(rows))  # [D, rows]
        return ops.matmul(dy, ops.transpose(kernel)), ops.matmul(columns, ops.reshape(dy, (-1, kernel.shape[1])))

    return ops.matmul(x, kernel), gradients
