"""The documentation is true: examples run, public classes say what they take, and CI runs what the README says."""

import functools
import importlib
import importlib.util
import inspect
import pathlib
import pkgutil
import re
import shutil
import subprocess
import sys
import textwrap

import pytest

from kerazoo import _docstrings

ROOT = pathlib.Path(__file__).resolve().parent.parent
BLOCK = re.compile(r"^( *)```python\n(.*?)^\1```", re.DOTALL | re.MULTILINE)
PAGE_BLOCK = re.compile(r"(<!-- not run: .*? -->\n)?^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)


def packages():
    """Every module and package directly under kerazoo, read from the folder so that collecting imports nothing."""
    found = pkgutil.iter_modules([str(ROOT / "kerazoo")])
    return sorted(module.name for module in found if not module.name.startswith("_"))


def modules(package):
    """The module or package itself and every public module inside it."""
    module = importlib.import_module(f"kerazoo.{package}")
    yield module
    for inner in pkgutil.iter_modules(getattr(module, "__path__", []), f"kerazoo.{package}."):
        if not inner.name.rsplit(".", 1)[-1].startswith("_"):
            yield importlib.import_module(inner.name)


def public(package):
    """(name, object) of every public class, method and function that the package itself defines."""
    for module in modules(package):
        yield module.__name__, module
        for name, thing in list(vars(module).items()):  # an example may import a further module of the package
            if name.startswith("_") or getattr(thing, "__module__", None) != module.__name__:
                continue
            if inspect.isclass(thing) or inspect.isfunction(thing):
                yield f"{module.__name__}.{name}", thing
            if inspect.isclass(thing):
                for inner, method in list(vars(thing).items()):
                    if inspect.isfunction(method) and not inner.startswith("_"):
                        yield f"{module.__name__}.{name}.{inner}", method


def blocks(text):
    return [textwrap.dedent(code) for _, code in BLOCK.findall(text or "")]


def own_doc(thing):
    """The docstring that this object carries, not one that it inherits."""
    return inspect.cleandoc(thing.__doc__) if getattr(thing, "__doc__", None) else ""


@pytest.fixture(autouse=True)
def tables():
    """Takes out again what examples put into the tables of names: other tests look at all rows."""
    from kerazoo import catalog, tasks, text

    kept = [(table, dict(table._values)) for table in (catalog._models, tasks._tasks, text._tokenizers)]
    yield
    for table, values in kept:
        table._values.clear()
        table._values.update(values)


@pytest.mark.usefixtures("run_eagerly")
@pytest.mark.parametrize("package", packages())
def test_examples_in_docstrings_run(package, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    failed = []
    for name, thing in public(package):
        for index, code in enumerate(blocks(own_doc(thing))):
            try:
                exec(compile(code, f"<example {index + 1} of {name}>", "exec"), {"__name__": "example"})
            except Exception as error:
                failed.append(f"{name}: {type(error).__name__}: {error}\n{textwrap.indent(code, '    ')}")
    assert not failed, "\n".join(failed)


def public_classes(package, base):
    """The classes that a package exports and that it defines as layers or models."""
    module = importlib.import_module(package)
    return [
        (name, getattr(module, name))
        for name in module.__all__
        if inspect.isclass(getattr(module, name)) and issubclass(getattr(module, name), base)
    ]


def takes_arguments(cls):
    skipped = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    parameters = list(inspect.signature(cls.__init__).parameters.values())[1:]
    return [parameter.name for parameter in parameters if parameter.kind not in skipped]


@pytest.mark.parametrize("package", ["kerazoo.layers", "kerazoo.models"])
def test_public_classes_say_what_a_user_must_know(package):
    import keras

    lacking = []
    for name, cls in public_classes(package, keras.layers.Layer):
        doc = own_doc(cls)
        sections = ["Returns:", "Example:", "Reference:"] if package == "kerazoo.layers" else ["Example:"]
        sections += ["Args:"] if takes_arguments(cls) else []
        lacking += [f"{name}: no section {section!r}" for section in sections if section not in doc]
        lacking += [f"{name}: its example has no ```python block"] if "Example:" in doc and not blocks(doc) else []
        described = doc.split("Args:")[-1]
        lacking += [f"{name}: `{arg}` is not described" for arg in takes_arguments(cls) if arg not in described]
        for method in ("build", "call"):
            if method in vars(cls) and own_doc(vars(cls)[method]):
                lacking.append(f"{name}.{method}: the class carries the docstring, `{method}` carries none")
    assert not lacking, "\n".join(lacking)


SECTIONS = ("Args", "Call arguments", "Returns", "Yields", "Raises", "Example", "Reference")


def sections(doc):
    """The sections of a docstring: title -> text, dedented."""
    found = {}
    for title, body in re.findall(r"^([A-Z][\w ]*):\n((?:(?: +.*)?\n)+)", doc + "\n", re.MULTILINE):
        found[title] = textwrap.dedent(body).strip("\n")
    return found


def entries(text):
    """The entries of a section: name -> text in one line."""
    found = {}
    for part in re.split(r"\n(?=\S)", text):
        name, _, rest = part.partition(":")
        found[name] = " ".join(rest.split())
    return found


def parameters(thing):
    try:
        found = _docstrings.parameters(thing)
    except (TypeError, ValueError):
        return {}
    return {parameter.name: parameter for parameter in found}


def faults_of_dialect(thing, doc):
    """What a docstring has that is not Keras' dialect."""
    if doc and not doc.partition("\n")[0].endswith((".", "?")):
        yield "the first line is a sentence"
    for wrong in re.findall(r"(?i)\barxiv\W{1,2}\S*", doc):
        if not re.match(r"arXiv:\d{4}\.\d{4,5}\b", wrong):
            yield f"{wrong!r}: write arXiv:1706.03762"
    found = sections(doc)
    for title in ("Arguments", "Return", "Raise", "Examples", "References", "Call args"):
        if title in found:
            yield f"the section {title!r} is one of {SECTIONS}"
    for title in ("Args", "Call arguments"):
        for name, text in entries(found.get(title, "")).items():
            if not text:
                continue
            if not re.fullmatch(r"\*{0,2}\w+(, \*{0,2}\w+)*", name):
                yield f"{title}: an entry begins with a name and a colon: {name[:40]!r}"
            elif not text.endswith((".", ".)")):
                yield f"{title}: `{name}` ends with a period"
            elif "by default" in text:
                yield f"{title}: `{name}`: write 'Defaults to `0.1`.'"
            parameter = parameters(thing).get(name)
            given = parameter is not None and parameter.default is not parameter.empty
            if given and isinstance(parameter.default, bool | int | float | str | None) and "Defaults to" not in text:
                yield f"{title}: `{name}` lacks 'Defaults to `{parameter.default!r}`.'"
    for name, text in entries(found.get("Raises", "")).items():
        if text and not (re.match(r"(if|for|with|as) ", text) and text.endswith(".")):
            yield f"Raises: write '{name}: if ...'"


@pytest.mark.parametrize("package", packages())
def test_docstrings_have_one_dialect(package):
    found = {
        f"{name}: {fault}" for name, thing in public(package) for fault in faults_of_dialect(thing, own_doc(thing))
    }
    assert not found, "\n".join(sorted(found))


def test_the_test_of_the_dialect_sees_faults():
    def function(first, second=3, third=None):
        """Does it

        As in arXiv 1706.03762.

        Args:
            first: integer. A sentence
            second: integer. A sentence.
            third: a thing, none by default.

        Raises:
            ValueError: The argument is wrong.

        Examples:
            none
        """

    assert len(list(faults_of_dialect(function, own_doc(function)))) == 8

    def right(first, second=3):
        """Does it.

        Args:
            first: integer. A sentence
                of two lines.
            second: integer. A sentence. Defaults to `3`.

        Raises:
            ValueError: if `first` is wrong.

        Reference:
            Vaswani et al. (2017), Attention Is All You Need, arXiv:1706.03762.
        """

    assert not list(faults_of_dialect(right, own_doc(right)))


@pytest.mark.parametrize("package", packages())
def test_everything_public_has_a_docstring(package):
    module = importlib.import_module(f"kerazoo.{package}")
    assert own_doc(module), f"kerazoo.{package}: the first line says what the package is for"
    exported = [name for name in getattr(module, "__all__", []) if callable(getattr(module, name))]
    bare = [name for name in exported if not own_doc(getattr(module, name))]
    assert not bare, f"kerazoo.{package}: no docstring: {bare}"


PAGES = [page for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))) if page.exists()]
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
checkout = pytest.mark.skipif(not PAGES, reason="this is not a checkout of the repository")


@checkout
def test_ci_runs_the_commands_of_the_readme():
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("no bash on this machine")
    done = subprocess.run([bash, ".ci/run", "--show"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    shown = done.stdout.splitlines()
    assert len(shown) == 2
    for command in shown:
        assert any(line.strip().startswith(command) for line in PAGES[0].read_text().splitlines()), command
    assert shown[0].startswith('pip install -e ".[demo]" && python -m experiments.run')
    assert shown[1] == 'pip install -e ".[test]" && python -m pytest'


# `experiments/test_course.py` executes those of the course, together with the commands whose runs they read.
@pytest.mark.parametrize("page", [page for page in PAGES if page.parent.name != "course"], ids=lambda page: page.name)
@pytest.mark.usefixtures("run_eagerly")
def test_python_of_a_page_runs(page, tmp_path, monkeypatch):
    """The blocks are executed in order in one namespace; a line `<!-- not run: why -->` before a block skips it."""
    monkeypatch.chdir(tmp_path)
    namespace = {"__name__": "page"}
    for skipped, code in PAGE_BLOCK.findall(page.read_text()):
        if not skipped:
            exec(compile(code, f"<{page.name}>", "exec"), namespace)


@pytest.fixture(scope="module")
def flags_of():
    """Returns the flags that a script defines, from its `--help`."""

    @functools.cache
    def flags_of(script):
        done = subprocess.run(
            [sys.executable, "-m", f"experiments.{script}", "--help"], cwd=ROOT, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return set(re.findall(r"--(?:\[no\])?(\w+)", done.stdout))

    return flags_of


def unknown_flags(names, defined):
    """Returns the names that are no flags, nor the negation of one such as `noevaluate`."""
    return sorted({name for name in names if name not in defined and name.removeprefix("no") not in defined})


@each_page
def test_commands_of_a_page_have_the_flags_that_they_use(page, flags_of):
    """Running them all would take an hour; .ci/run runs the first, and a run through evaluate, predict and export."""
    text = re.sub(r" *\\\n *", " ", page.read_text())  # a command over several lines
    for script, rest in re.findall(r"python -m experiments\.(\w+)([^`\n#]*)", text):
        assert not unknown_flags(re.findall(r"(?<!\S)--(\w+)", rest), flags_of(script)), script


def test_recipes_have_the_flags_that_they_use(flags_of):
    for recipe in sorted((ROOT / "experiments" / "recipes").glob("*.flags")):
        text = recipe.read_text()
        script = re.findall(r"# python -m experiments\.(run|finetune) ", text)[0]
        named = re.findall(r"^--(\w+)", text, re.MULTILINE)
        assert not unknown_flags(named, flags_of(script)), recipe.name


@each_page
def test_a_page_names_only_files_and_models_that_exist(page):
    import kerazoo as kz

    text = page.read_text()
    named = re.findall(r"--model=([a-z0-9_+,]+)(?![\w/])", text) + re.findall(r"kz\.create\(\"([a-z0-9_+,]+)\"", text)
    for name in sorted(set(named) - {"mine", "my_model"}):
        assert kz.describe(name).kind, name  # raises for a model that the catalog lacks
    prose = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)  # calls such as layers[0](x) are no links
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", prose)
    assert not [link for link in links if not (page.parent / link).exists()]
    recipes = re.findall(r"experiments/recipes/(\w+)\.flags|--flagfile=([a-z]\w*)(?![\w.])", text)
    missing = [a or b for a, b in recipes if not (ROOT / "experiments" / "recipes" / f"{a or b}.flags").exists()]
    assert not missing


@checkout
def test_the_readme_has_the_rows_of_the_catalog():
    import kerazoo as kz

    specs = {name: kz.describe(name) for name in kz.list_models()}
    rows = [
        f"| `{name}` | {spec.kind.replace('_', ' ')} | {spec.parameters:,} | {spec.reference} |"
        for name, spec in specs.items()
    ]
    lines = (ROOT / "README.md").read_text().splitlines()
    begin = lines.index("| model | kind | parameters | configuration |") + 2
    assert lines[begin : begin + len(rows) + 1] == [*rows, ""]


@checkout
def test_each_package_has_a_page_of_the_reference():
    pages = {page.stem for page in (ROOT / "docs" / "reference").glob("*.md")}
    assert pages == {"index", *packages()}
    index = (ROOT / "docs" / "reference" / "index.md").read_text()
    assert sorted(re.findall(r"^\| \[(\w+)\]\(\1\.md\)", index, re.MULTILINE)) == packages()


@pytest.fixture(scope="module")
def of_site():
    """Returns a module of `.ci/site`, which MkDocs loads by its path."""

    def load(name):
        spec = importlib.util.spec_from_file_location(name, ROOT / ".ci" / "site" / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


@checkout
def test_docstrings_become_markdown(of_site):
    def function(first, **rest):
        """Computes.

        Args:
            first: int. A sentence
                of two lines.
            **rest: More.

        Returns:
            A tensor: `[B]`.

        Raises:
            ValueError: if `first` is wrong.

        Example:

        ```python
        function(1)
        ```
        """

    pytest.importorskip("griffe", reason="the extra docs")
    assert of_site("docstrings").markdown(own_doc(function)).splitlines() == [
        "Computes.", "",
        "**Args**", "", "- `first`: int. A sentence", "    of two lines.", "- `**rest`: More.", "",
        "**Returns**", "", "A tensor: `[B]`.", "",
        "**Raises**", "", "- `ValueError`: if `first` is wrong.", "",
        "**Example**", "", "", "", "```python", "function(1)", "```",
    ]  # fmt: skip


@checkout
@pytest.mark.parametrize(
    ("page", "link", "on_the_site"),
    [
        ("serving.md", "../SECURITY.md", "SECURITY.md"),
        ("serving.md", "export.md#signatures", "export.md#signatures"),
        ("course/index.md", "../../README.md", "../index.md"),
        ("course/index.md", "../../experiments/recipes/stsb.flags", "../recipes.md#stsb"),
        ("SECURITY.md", "docs/export.md", "export.md"),
        ("serving.md", "https://keras.io", "https://keras.io"),
        ("serving.md", "#load", "#load"),
    ],
)
def test_links_out_of_docs_are_pages_of_the_site(of_site, page, link, on_the_site):
    pytest.importorskip("mkdocs", reason="the extra docs")
    from types import SimpleNamespace

    found = of_site("pages").on_page_markdown(f"a [b]({link}), c", SimpleNamespace(file=SimpleNamespace(src_uri=page)))
    assert found == f"a [b]({on_the_site}), c"
