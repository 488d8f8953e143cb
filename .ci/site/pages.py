"""Hook of MkDocs: files outside of docs/ that its pages link to become pages of the site.

The pages link to them as GitHub expects it, such as `../SECURITY.md` and `../experiments/recipes/stsb.flags`.
"""

import pathlib
import posixpath
import re

from mkdocs.structure.files import File

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
PAGES = ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")
RECIPES = "experiments/recipes/"
LINK = re.compile(r"(?<=\]\()(?!\w+:|#)([^)#\s]+)(#[^)\s]*)?(?=\))")


def on_files(files, config):
    for name in PAGES:
        files.append(File.generated(config, name, abs_src_path=str(ROOT / name)))
    files.append(File.generated(config, "recipes.md", content=recipes()))
    return files


def recipes():
    """Returns a page with all flag files, each of which states its commands and its result."""
    parts = [
        "# Recipes\n\nA recipe is a file of flags: `python -m experiments.run --flagfile=NAME --data_dir=DIR`. Its "
        "comment has the commands, and the result that it reached. "
        "`python -m experiments.reproduce NAME --data_dir=DIR` trains it again and compares the results."
    ]
    for path in sorted((ROOT / RECIPES).glob("*.flags")):
        parts.append(f"## {path.stem}\n\n```text\n{path.read_text(encoding='utf-8').rstrip()}\n```")
    return "\n\n".join(parts) + "\n"


def on_page_markdown(markdown, page, **kwargs):
    uri = page.file.src_uri
    here = posixpath.dirname(uri if uri in PAGES else f"docs/{uri}")

    def target(match):
        link, anchor = match.groups(default="")
        path = posixpath.normpath(posixpath.join(here, link))
        if path.startswith(RECIPES):
            site, anchor = "recipes.md", f"#{pathlib.PurePosixPath(path).stem}"
        else:
            site = "index.md" if path == "README.md" else path.removeprefix("docs/")
        return posixpath.relpath(site, posixpath.dirname(uri)) + anchor

    return LINK.sub(target, markdown)
