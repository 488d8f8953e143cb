"""The rules of the house that a machine can check: imports, names of files, names in the code."""

import ast
import pathlib
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
BANNED_FILES = {"utils", "util", "misc", "common", "helpers", "helper"}
BANNED_NAMES = {"d_model", "n_embd", "n_head", "n_heads", "n_layer", "n_layers", "n_units", "vocab_size"}
SOURCES = sorted(path for room in ("kerazoo", "experiments") for path in (ROOT / room).rglob("*.py"))
HEAVY = ("tensorflow", "keras", "jax", "tensorflow_datasets", "sklearn")


def names(path):
    return str(path.relative_to(ROOT))


def tracked_files():
    listing = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listing.returncode:
        pytest.skip("this is not a checkout of the repository")
    return [ROOT / line for line in listing.stdout.splitlines() if (ROOT / line).is_file()]


@pytest.mark.parametrize("path", SOURCES, ids=names)
def test_file_is_named_for_its_idea(path):
    assert path.stem not in BANNED_FILES, f"{names(path)}: name the file for its idea"


def identifiers(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            yield node.id, node.lineno
        elif isinstance(node, ast.arg):
            yield node.arg, node.lineno
        elif isinstance(node, ast.Attribute):
            yield node.attr, node.lineno
        elif isinstance(node, ast.keyword) and node.arg:
            yield node.arg, node.value.lineno
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name, node.lineno


@pytest.mark.parametrize("path", SOURCES, ids=names)
def test_file_uses_the_names_of_the_house(path):
    tree = ast.parse(path.read_text())
    found = [f"{names(path)}:{line}: {name}" for name, line in identifiers(tree) if name in BANNED_NAMES]
    assert not found, found
    assert ast.get_docstring(tree) or not tree.body, f"{names(path)}: the first line says what the file is for"
    asserts = [f"{names(path)}:{node.lineno}" for node in ast.walk(tree) if isinstance(node, ast.Assert)]
    assert not asserts, f"asserts vanish under -O; raise an error: {asserts}"


COMMAND = "import runpy, sys; sys.argv = ['run', {flag!r}]; runpy.run_module('experiments.run', run_name='__main__')"


@pytest.mark.parametrize(
    "code",
    [
        pytest.param("import kerazoo", id="import"),
        pytest.param("import kerazoo as kz; dir(kz); kz.list_models('*')", id="list_models"),
        pytest.param(COMMAND.format(flag="--help"), id="help"),
        pytest.param(COMMAND.format(flag="--list_models=*"), id="listing"),
        pytest.param(COMMAND.format(flag="--no_such_flag=1"), id="wrong_flag"),
    ],
)
def test_light_commands_import_nothing_heavy(code):
    """A help text must not wait seconds for TensorFlow; the imports are counted, not the time."""
    program = (
        f"try:\n    exec({code!r})\nexcept SystemExit:\n    pass\n"
        f"import sys; print('heavy:', [name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.stdout.splitlines()[-1:] == ["heavy: []"], done.stdout[-500:] + done.stderr[-2000:]
    assert "Traceback" not in done.stderr, done.stderr[-2000:]


def test_import_contracts_hold():
    command = shutil.which("lint-imports", path=sysconfig.get_path("scripts"))
    if command is None:
        pytest.skip("import-linter is not installed here")
    done = subprocess.run([command, "--no-cache", "--no-logo"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]


def test_no_room_is_left_out_of_the_package():
    rooms = [path.parent for path in SOURCES if path.parent != ROOT / "kerazoo"]
    bare = [names(room) for room in set(rooms) if not (room / "__init__.py").exists()]
    assert not bare, f"folders of code without __init__.py: {bare}"


def test_tracked_files_name_no_machine():
    """A path or an address of one machine in the repository breaks everyone else's."""
    pattern = re.compile(r"(?<![\w.~$}/>-])/(?:work|home|root|Users|mnt)/[\w.]|//[\w.-]*(?:pypi|pythonhosted)[\w.-]*/")
    found = []
    for path in tracked_files():
        if path.suffix in (".png", ".gz", ".npz", ".keras"):
            continue
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
            if pattern.search(line) and path != pathlib.Path(__file__):
                found.append(f"{names(path)}:{number}: {line.strip()[:100]}")
    assert not found, found


def imported_packages(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module.split(".")[0]


def test_every_imported_package_is_declared():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = " ".join([*project["dependencies"], *sum(project["optional-dependencies"].values(), [])])
    distributions = {"absl": "absl-py", "sklearn": "scikit-learn", "tensorflow_datasets": "tensorflow-datasets",
                     "keras_hub": "keras-hub"}
    ours = {"kerazoo", "experiments", "torch", *sys.stdlib_module_names}  # torch: a backend whoever wants it has
    used = {(package, names(path)) for path in SOURCES for package in imported_packages(path) if package not in ours}
    missing = sorted((where, name) for name, where in used if distributions.get(name, name) not in declared)
    assert not missing, f"not in pyproject.toml: {missing}"
