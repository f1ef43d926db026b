"""Sphinx configuration: `make docs` builds the pages in this folder and executes the tutorials."""

import os
import shutil
import sys
from pathlib import Path

DOCS = Path(__file__).parent
ROOT = DOCS.parent

# The checkout itself is documented, also where ppgen is not installed; kernels of tutorials inherit this.
sys.path[:0] = [str(ROOT), str(DOCS / "_ext")]
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
os.environ.setdefault("OMP_NUM_THREADS", "1")  # models of a tutorial gain nothing from a second thread

import ppgen  # noqa: E402 - found through the path above

# Sphinx reads only what lies below its source folder, and the tutorials' place is beside it.
TUTORIALS = DOCS / "tutorials"
TUTORIALS.mkdir(exist_ok=True)
for stale in TUTORIALS.glob("*.md"):
    if not (ROOT / "tutorials" / stale.name).exists():
        stale.unlink()
for tutorial in sorted((ROOT / "tutorials").glob("*.md")):
    copy = TUTORIALS / tutorial.name
    if tutorial.name != "README.md" and (not copy.exists() or copy.read_bytes() != tutorial.read_bytes()):
        shutil.copyfile(tutorial, copy)

project = "ppgen"
author = "The ppgen authors"
copyright = author
release = version = ppgen.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.mathjax",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "generated",
]
exclude_patterns = ["_build", "_ext"]

default_role = "py:obj"  # single backquotes in docstrings: a link where there is such an object, else code

html_theme = "furo"
html_title = f"ppgen {version}"
html_show_copyright = False
html_static_path = ["_static"]
html_css_files = ["wrap.css"]
pygments_style = "friendly"
pygments_dark_style = "github-dark"

myst_enable_extensions = ["amsmath", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "force"  # a cache would not see a changed library
nb_execution_timeout = 600
nb_execution_raise_on_error = True
nb_execution_show_tb = True
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

autodoc_default_options = {"members": True}
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False
