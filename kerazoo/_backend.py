"""What Keras leaves to its backends: compiled functions, gradients, and models without memory for their weights."""

import contextlib
import os
import pathlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import keras
import numpy as np

from kerazoo import _checks

RANDOM = (
    keras.initializers.RandomNormal,
    keras.initializers.RandomUniform,
    keras.initializers.TruncatedNormal,
    keras.initializers.VarianceScaling,
    keras.initializers.Orthogonal,
)
MIN_COMPILE_SECONDS = 0.1  # of a program that is kept


def compile(function: Callable[..., Any], variables: Iterable[Any] = (), jit: bool = False) -> Callable[..., Any]:
    """Returns `function` compiled for the backend in use; it may read `variables` and must not change them.

    The function takes nests of arrays and returns a nest of tensors. It is traced once for each set of shapes and
    dtypes. On JAX the variables go in as an argument, so new values of the weights need no new program.

    Args:
        function: callable over nests of tensors, written with `keras.ops`.
        variables: the Keras variables that it reads.
        jit: boolean. Whether TensorFlow hands the graph to XLA; JAX always does, PyTorch runs the function as it is.

    Returns:
        A callable with the arguments of `function`.
    """
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.function(function, jit_compile=jit, autograph=False)
    if keras.backend.backend() == "jax":
        return _compile_jax(function, list(variables))
    return _without_gradients(function)


def keep_programs(find_folder: Callable[[], pathlib.Path | None]) -> None:
    """Lets JAX keep the programs that it compiles in a folder, where later processes find them.

    Other backends keep none. It stays as it is where JAX has such a folder already, as by `JAX_COMPILATION_CACHE_DIR`.

    Args:
        find_folder: function that returns the folder, or `None` to keep nothing. It is called where JAX needs one.
    """
    if keras.backend.backend() != "jax":
        return
    import jax
    from jax.experimental.compilation_cache import compilation_cache

    if jax.config.values["jax_compilation_cache_dir"] or (folder := find_folder()) is None:
        return
    jax.config.update("jax_compilation_cache_dir", os.fspath(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", MIN_COMPILE_SECONDS)
    compilation_cache.reset_cache()  # for if a program was compiled before


def _compile_jax(function: Callable[..., Any], variables: list[Any]) -> Callable[..., Any]:
    import jax

    @jax.jit
    def program(values, *args):
        with keras.StatelessScope(state_mapping=list(zip(variables, values, strict=True))):
            return function(*args)

    return lambda *args: program([variable.value for variable in variables], *args)


def _without_gradients(function: Callable[..., Any]) -> Callable[..., Any]:
    if keras.backend.backend() != "torch":
        return function
    import torch  # pyright: ignore[reportMissingImports]  (only where it is the backend)

    def program(*args):
        with torch.no_grad():
            return function(*args)

    return program


def value_and_gradient(function: Callable[..., Any]) -> Callable[..., tuple[Any, Any]]:
    """Returns a function that computes `function` and the gradient of the sum of its values by its first argument.

    Args:
        function: callable of a float tensor `[B, ...]` and further arguments that returns a float tensor `[B]`.

    Returns:
        A callable with the arguments of `function` that returns the values `[B]` and the gradient `[B, ...]`.

    Raises:
        SetupError: if the backend is neither TensorFlow nor JAX.
    """
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        def on_tensorflow(x, *args):
            x = tf.convert_to_tensor(x)
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(x)
                values = function(x, *args)
            gradient = tape.gradient(values, x, unconnected_gradients=tf.UnconnectedGradients.ZERO)
            return values, gradient

        return on_tensorflow
    if keras.backend.backend() == "jax":
        import jax

        def on_jax(x, *args):
            def total(x):
                values = function(x, *args)
                return values.sum(), values

            (_, values), gradient = jax.value_and_grad(total, has_aux=True)(x)
            return values, gradient

        return on_jax
    raise _checks.SetupError(f"Gradients need TensorFlow or JAX; the backend is {keras.backend.backend()}.")


def once_per_program(owner: Any, function: Callable[[], Any]) -> Any:
    """Returns `function()`, which in a TensorFlow graph is computed once for each owner, outside of all loops.

    Args:
        owner: any object, for which there is one value in a program.
        function: callable that returns a tensor of no other inputs than variables.
    """
    if keras.backend.backend() != "tensorflow":
        return function()
    import tensorflow as tf

    if tf.executing_eagerly():
        return function()
    graph = tf.compat.v1.get_default_graph()
    while isinstance(getattr(graph, "outer_graph", None), tf.__internal__.FuncGraph):
        graph = graph.outer_graph
    if not hasattr(graph, "_kerazoo_values"):
        graph._kerazoo_values = {}
    values = graph._kerazoo_values
    if id(owner) not in values:
        with graph.as_default(), tf.control_dependencies(None):
            values[id(owner)] = owner, function()  # the owner as well, so that no other object gets its id
    return values[id(owner)][1]


@contextlib.contextmanager
def operation_by_operation() -> Iterator[None]:
    """Within it loops run in Python as well, so that every tensor has a value."""
    if keras.backend.backend() != "jax":
        yield
        return
    import jax

    with jax.disable_jit():
        yield


def has_barrier() -> bool:
    """Returns whether the code that is being traced will be compiled by XLA for a CPU, so that `barrier` works."""
    if keras.backend.backend() == "jax":
        import jax

        return jax.default_backend() == "cpu"
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf
    from tensorflow.python.ops.control_flow_util import GraphOrParentsInXlaContext

    in_xla = not tf.executing_eagerly() and GraphOrParentsInXlaContext(tf.compat.v1.get_default_graph())
    return in_xla and not any(tf.config.list_logical_devices(kind) for kind in ("GPU", "TPU"))


@keras.ops.custom_gradient
def barrier(x: Any) -> tuple[Any, Callable[..., Any]]:
    """Returns `x`, which XLA computes before what it is used for, and does not merge with that."""
    if keras.backend.backend() == "jax":
        import jax

        y = jax.lax.optimization_barrier(x)
    else:
        from tensorflow.compiler.tf2xla.python import xla

        (y,) = xla.optimization_barrier(x)
    return y, lambda *args, upstream=None: args[0] if upstream is None else upstream


@contextlib.contextmanager
def no_memory() -> Iterator[None]:
    """Within it, layers build weights that have a shape and a dtype and no values.

    For counting the parameters of a model that need not fit on this machine. A model built within is good for
    nothing else.
    """
    waiting = _waiting_weights()
    with keras.StatelessScope(initialize_variables=False):
        try:
            yield
        finally:
            _set_waiting_weights(waiting)


@contextlib.contextmanager
def values_at_the_end(are_restored: bool = False) -> Iterator[None]:
    """Within it, layers build weights that have a shape and a dtype; they get values when it ends without an error.

    Args:
        are_restored: bool. Whether the weights are restored afterwards: those that would be random are zero until then,
            since sampling them takes time. Defaults to `False`.
    """
    with discard_failed_weights():
        with keras.StatelessScope(initialize_variables=False):
            yield
        for weight in _waiting_weights() if are_restored else ():
            if isinstance(weight._initializer, RANDOM):
                weight._initializer = lambda shape, dtype: keras.ops.convert_to_tensor(np.zeros(shape), dtype)
        with keras.StatelessScope():
            pass  # at its end Keras gives values to all weights that wait for them


@contextlib.contextmanager
def discard_failed_weights() -> Iterator[None]:
    """Discards the weights of a model whose building fails inside the block.

    Keras keeps a list of weights that wait for their values and would try again with every later model: one that did
    not fit into memory would fail all that follow.
    """
    waiting = _waiting_weights()
    try:
        yield
    except BaseException:
        _set_waiting_weights(waiting)
        raise


def _waiting_weights() -> list:
    """Returns the weights that Keras gives values to when the next scope ends."""
    from keras.src.backend.common import global_state

    return list(global_state.get_global_attribute("uninitialized_variables", []) or [])


def _set_waiting_weights(weights: list) -> None:
    from keras.src.backend.common import global_state

    global_state.set_global_attribute("uninitialized_variables", weights)
