"""The folder in which JAX keeps compiled programs between processes."""

import os
import time

import numpy as np
import pytest
from keras import ops
from toys import JAX

from kerazoo import _backend
from kerazoo.data import cache

pytestmark = pytest.mark.skipif(not JAX, reason="other backends keep no programs")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    import jax
    from jax.experimental.compilation_cache import compilation_cache

    monkeypatch.setattr(_backend, "MIN_COMPILE_SECONDS", 0.0)
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path))
    names = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")
    before = {name: jax.config.values[name] for name in names}
    jax.config.update("jax_compilation_cache_dir", None)
    yield tmp_path / "programs"
    for name, value in before.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()


def compiled():
    """Compiles a program, as a process does that has compiled nothing."""
    import jax

    jax.clear_caches()
    x = np.arange(5, dtype="float32")
    np.testing.assert_allclose(_backend.compile(lambda x: ops.sin(x) + 3)(x), np.sin(x) + 3, rtol=1e-5)


def test_a_program_is_kept_and_read(folder):
    _backend.keep_programs(cache.compiled_programs_dir)
    compiled()
    kept = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert kept and folder.stat().st_mode & 0o077 == 0
    compiled()
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == kept


def test_a_damaged_program_is_compiled_anew(folder):
    _backend.keep_programs(cache.compiled_programs_dir)
    compiled()
    for path in folder.iterdir():
        path.write_bytes(path.read_bytes()[:100])
    with pytest.warns(UserWarning, match="compilation cache"):
        compiled()


def test_programs_that_were_not_read_for_long_are_deleted(folder):
    folder.mkdir(mode=0o700)
    now = time.time()
    for name, days in [("old", 31), ("new", 29)]:
        (folder / name).write_bytes(b"")
        os.utime(folder / name, (now - days * 86400,) * 2)
    _backend.keep_programs(cache.compiled_programs_dir)
    assert [path.name for path in folder.iterdir()] == ["new"]


@pytest.mark.parametrize("kind", ["writable by others", "a link", "a file", "none"])
def test_where_none_are_kept(folder, tmp_path, kind):
    import jax

    if kind == "writable by others":
        folder.mkdir()
        folder.chmod(0o777)
    elif kind == "a link":
        (tmp_path / "other").mkdir(mode=0o700)
        folder.symlink_to(tmp_path / "other")
    elif kind == "a file":
        folder.write_bytes(b"")
    elif kind == "none":
        cache.set_cache_dir("")
    assert cache.compiled_programs_dir() is None
    _backend.keep_programs(cache.compiled_programs_dir)
    assert jax.config.values["jax_compilation_cache_dir"] is None


def test_a_folder_of_the_users_choice_stays(folder, tmp_path):
    import jax

    jax.config.update("jax_compilation_cache_dir", str(tmp_path / "mine"))
    _backend.keep_programs(cache.compiled_programs_dir)
    assert jax.config.values["jax_compilation_cache_dir"] == str(tmp_path / "mine") and not folder.exists()
