"""The rules of the code that a machine can check: imports, names of files, names in the code."""

import ast
import configparser
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
# Words that are no terms of the field, wherever they stand in a name; then names that they are as a whole.
BANNED_WORDS = {
    "ancestors", "answer", "answerer", "answerers", "answers", "ask", "asked", "asks", "beside", "carry",
    "conductor", "digest", "digests", "drawn", "facts", "filler", "fillers", "house", "known", "knows", "learn",
    "learner", "learnt", "least", "likeliest", "longest", "most", "pace", "place", "places", "proof",
    "real", "replay", "resident", "room", "rooms", "said", "say", "says", "show", "shown", "tick", "told", "truth",
    "turn", "turns", "twin", "ways", "writer", "written",
}  # fmt: skip
BANNED_WHOLE = {"begun", "there", "own", "every", "several", "gone", "behind", "way"}
# Packages whose names and messages are still to be reworded.
PENDING_WORDS = {
    "decoding",
    "layers",
}
PENDING_FLAGS = {}
SOURCES = sorted(path for package in ("kerazoo", "experiments") for path in (ROOT / package).rglob("*.py"))
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


def test_no_two_packages_have_files_of_the_same_name():
    """A reader who searches for a file finds one; a command has the name that people type."""
    where = {}
    for path in (path for path in SOURCES if path.parent.name != "experiments"):
        where.setdefault(path.name, []).append(names(path))
    del where["__init__.py"]
    found = [paths for paths in where.values() if len(paths) > 1]
    assert not found, f"files of the same name: {found}"


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


def defined_names(tree):
    """The names that a file defines itself: functions, classes, arguments, variables and attributes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name, node.lineno
        elif isinstance(node, ast.arg):
            yield node.arg, node.lineno
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id, node.lineno
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr, node.lineno


def words(name):
    """The words of a name in snake_case or CamelCase, in lower case."""
    return {word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)}


@pytest.mark.parametrize("path", SOURCES, ids=names)
def test_file_uses_the_terms_of_the_field(path):
    tree = ast.parse(path.read_text())
    found = [f"{names(path)}:{line}: {name}" for name, line in identifiers(tree) if name in BANNED_NAMES]
    if not pending(path, PENDING_WORDS):
        for name, line in [*defined_names(tree), (path.stem, 0)]:
            if words(name) & BANNED_WORDS or name.strip("_") in BANNED_WHOLE:
                found.append(f"{names(path)}:{line}: {name}")
    assert not found, "\n".join(found)
    assert ast.get_docstring(tree) or not tree.body, f"{names(path)}: the first line says what the file is for"
    asserts = [f"{names(path)}:{node.lineno}" for node in ast.walk(tree) if isinstance(node, ast.Assert)]
    assert not asserts, f"asserts vanish under -O; raise an error: {asserts}"


def documented(tree):
    """The constants that are docstrings."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and node.body:
            first = node.body[0]
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                yield first.value


@pytest.mark.parametrize("path", [path for path in SOURCES if path.is_relative_to(ROOT / "kerazoo")], ids=names)
def test_messages_of_the_library_name_arguments_and_no_flags(path):
    """Who calls a function has no flags; experiments/command.py turns arguments into flags."""
    if pending(path, PENDING_FLAGS):
        return
    tree = ast.parse(path.read_text())
    docstrings = set(documented(tree))
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in docstrings:
            flag = re.search(r"(?<![\w-])--[a-z]", node.value)
            if flag and "python -m experiments." not in node.value:  # a whole command for a person to type
                found.append(f"{names(path)}:{node.lineno}: {node.value[:80]!r}")
    assert not found, "\n".join(found)


def pending(path, packages):
    """Whether a file is in one of the packages that are still to be reworded."""
    return path.parent.name in packages and path.parent.parent == ROOT / "kerazoo"


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


def test_the_import_contract_is_the_architecture():
    """From the top: a layer may import those below it, and the packages of one layer never import each other."""
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    contract = parser["importlinter:contract:packages"]
    layers = [[name.strip(" ()") for name in line.split("|")] for line in contract["layers"].strip().splitlines()]
    assert [sorted(layer) for layer in layers] == [
        ["run", "serve"],
        ["catalog", "compress", "export", "inspect", "tasks", "transfer"],
        ["models"],
        ["data", "decoding", "text", "training"],
        ["layers"],
        ["_backend", "_files", "registry"],
        ["_checks", "_docstrings", "_options"],
    ]
    assert contract["type"] == "layers" and contract["exhaustive"] == "True"
    assert contract["containers"] == "kerazoo"


def test_no_package_lacks_its_init_file():
    packages = [path.parent for path in SOURCES if path.parent != ROOT / "kerazoo"]
    bare = [names(package) for package in set(packages) if not (package / "__init__.py").exists()]
    assert not bare, f"folders of code without __init__.py: {bare}"


def test_tracked_files_name_no_machine():
    """A path or an address of one machine in the repository breaks everyone else's."""
    paths = r"(?<![\w.~$}/>-])/(?:work|home|root|Users|mnt)/[\w.]"
    indexes = r"//[\w.-]*(?:pypi|pythonhosted)[\w.-]*/"
    pattern = re.compile(f"{paths}|{indexes}")
    found = []
    for path in tracked_files():
        if path.suffix in (".png", ".gz", ".npz", ".keras", ".safetensors"):
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
    distributions = {
        "PIL": "pillow",
        "absl": "absl-py",
        "sklearn": "scikit-learn",
        "tensorflow_datasets": "tensorflow-datasets",
        "keras_hub": "keras-hub",
        "rouge_score": "rouge-score",
        "espeakng_loader": "espeakng-loader",
        "prometheus_client": "prometheus-client",
        "ai_edge_litert": "ai-edge-litert",
    }
    ours = {"kerazoo", "experiments", "torch", *sys.stdlib_module_names}  # torch: an optional backend
    used = {(package, names(path)) for path in SOURCES for package in imported_packages(path) if package not in ours}
    missing = sorted((where, name) for name, where in used if distributions.get(name, name) not in declared)
    assert not missing, f"not in pyproject.toml: {missing}"
