"""What every test starts from: quiet backends, few threads, fixed seeds, a known dtype policy, and the real data."""

import contextlib
import gc
import importlib.metadata
import os
import pathlib
import sys
from importlib.machinery import PathFinder

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("MPLBACKEND", "Agg")
# Most programs run once: making them quickly is worth more than making them quick.
_xla_flags = "--xla_backend_optimization_level=0"
with contextlib.suppress(importlib.metadata.PackageNotFoundError):
    if tuple(map(int, importlib.metadata.version("jaxlib").split(".")[:2])) < (0, 11):  # others end at this flag
        _xla_flags += " --xla_cpu_use_fusion_emitters=false"
os.environ.setdefault("XLA_FLAGS", _xla_flags)
os.environ["KERAZOO_CACHE"] = ""  # nothing that a test prepares is kept, unless it says where
if "PYTEST_XDIST_WORKER" in os.environ:  # the workers share the cores: one computing thread for each is fastest
    for _name in ("TF_NUM_INTRAOP_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(_name, "1")
    os.environ.setdefault("TF_NUM_INTEROP_THREADS", "2")

if os.environ.get("KERAZOO_NO_TENSORFLOW") == "1":

    class _WithoutTensorFlow(PathFinder):
        """Finds what a machine without TensorFlow has."""

        @classmethod
        def find_spec(cls, fullname, path=None, target=None):
            without = fullname.split(".")[0] in ("tensorflow", "tensorflow_datasets")
            return None if without else super().find_spec(fullname, path, target)

    sys.meta_path[sys.meta_path.index(PathFinder)] = _WithoutTensorFlow

import pytest  # noqa: E402

gc.set_threshold(50_000, 10, 10)  # models are few and small: the garbage collector need not look at them often

ROOT = pathlib.Path(__file__).resolve().parent.parent
MISSING = "needs shared data"

# The files that take longest. They start first, so that no worker runs one alone at the end.
LONGEST = [
    "experiments/test_course.py",
    "experiments/test_command_line.py",
    "tasks/test_pairs.py",
    "models/test_generate.py",
    "test_export.py",
    "models/test_catalog_rows.py",
    "run/test_resuming.py",
    "training/test_fit.py",
    "models/test_composition.py",
    "test_docs.py",
    "models/test_grid.py",
    "layers/test_contracts.py",
    "experiments/test_text_commands.py",
    "run/test_predictor.py",
    "test_import.py",
]


def pytest_collection_modifyitems(items):
    """Puts the longest files first, and marks every test that asks for the real data, however it asks."""
    ranks = {ROOT / "tests" / name: rank for rank, name in enumerate(LONGEST)}
    items.sort(key=lambda item: ranks.get(item.path, len(ranks)))
    for item in items:
        if "shared_data" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.data)


def pytest_collection_finish():
    """Leaves what was imported out of garbage collections, and graphs that run once out of TensorFlow's optimizer."""
    gc.collect()
    gc.freeze()
    if "tensorflow" in sys.modules:
        import tensorflow as tf

        tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})


@pytest.fixture(scope="session")
def shared_data():
    """The folder of real data sets: KERAZOO_DATA, else `../shared/data` beside the project."""
    folder = pathlib.Path(os.environ.get("KERAZOO_DATA") or ROOT.parent / "shared" / "data")
    if folder.is_dir():
        return folder
    if os.environ.get("KERAZOO_REQUIRE_DATA") == "1":
        pytest.fail(f"{MISSING}: {folder} does not exist and KERAZOO_REQUIRE_DATA=1 forbids skipping.")
    pytest.skip(f"{MISSING}: {folder} does not exist (set KERAZOO_DATA to your copy)")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Turns any skip of a test that needs the real data into a failure where skipping is forbidden."""
    outcome = yield
    report = outcome.get_result()
    if os.environ.get("KERAZOO_REQUIRE_DATA") == "1" and report.skipped and item.get_closest_marker("data"):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped although the data must be there: {call.excinfo.value}"


@pytest.fixture(autouse=True)
def _same_start():
    """Every test begins with the same seed and the float32 policy, and leaves no policy behind."""
    if "keras" not in sys.modules:  # a test that imports no Keras must not pay for it
        yield
        return
    import keras

    keras.utils.set_random_seed(20)
    policy = keras.config.dtype_policy()
    yield
    keras.config.set_dtype_policy(policy)


@pytest.fixture
def run_eagerly():
    """Runs searches without tracing them; that programs give the same is shown in `decoding/test_compiled.py`."""
    import model_contracts

    with model_contracts.eager_searches():
        yield


# Packages whose tests run many small models for a few steps; that programs give the same is shown in `models`,
# `decoding` and `training`.
EAGER = ("compress", "experiments", "inspect", "run", "tasks", "transfer")


@pytest.fixture(autouse=True, scope="module")
def _without_programs(request):
    """Trains and searches without tracing in the packages above, also in fixtures of a module."""
    if request.path.relative_to(ROOT / "tests").parts[0] not in EAGER:
        yield
        return
    import keras
    import model_contracts

    from kerazoo import _backend

    original = keras.Model.compile

    def compile_eagerly(model, *arguments, **options):
        original(model, *arguments, **{**options, "run_eagerly": True, "jit_compile": False})

    replaced = [(_backend, "compile", _backend.compile), (keras.Model, "compile", original)]
    with pytest.MonkeyPatch.context() as patch, model_contracts.eager_searches():
        patch.setattr(keras.Model, "compile", compile_eagerly)
        yield replaced


@pytest.fixture
def programs(_without_programs, monkeypatch):
    """Traces after all: for tests of what a program does."""
    for owner, name, value in _without_programs:
        monkeypatch.setattr(owner, name, value)


@pytest.fixture(scope="session")
def with_slow_cases(request):
    """Whether this session runs cases that are marked slow, for fixtures that prepare all cases at once."""
    return any(item.get_closest_marker("slow") for item in request.session.items)
