"""How Sphinx builds the site: without a network, and with warnings as errors."""

import inspect

from sknn import __version__

project = "sknn"
author = "the sknn developers"
project_copyright = author
version = release = __version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "myst_parser",
    "matplotlib.sphinxext.plot_directive",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build"]
default_role = "literal"  # what docstrings write in single backticks
highlight_language = "none"  # where a block does not say
smartquotes = False  # names of values are in plain quotes, to be copied
toc_object_entries_show_parents = "hide"
templates_path = ["_templates"]

# Every heading down to the third level can be linked to.
myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence"]

# A class page is its docstring and the methods that sknn gives it.
autosummary_generate = True
autodoc_typehints = "none"  # numpydoc says more
numpydoc_show_class_members = False

# The figures of the guide: scripts that are run, and shown beside what they draw.
plot_include_source = True
plot_formats = [("png", 110)]
plot_html_show_formats = False
plot_html_show_source_link = False
plot_rcparams = {"figure.constrained_layout.use": True}

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "filename_pattern": r"/plot_",
    "ignore_pattern": r"^demo\.py$",  # a program for the terminal
    "within_subsection_order": "FileNameSortKey",
    "download_all_examples": False,
    "doc_module": ("sknn",),
    "reference_url": {"sknn": None},
    "backreferences_dir": "generated/examples",
    "parallel": True,  # as many at a time as sphinx has jobs
    "write_computation_times": False,  # on a page that asks other hosts for scripts
    "min_reported_time": 1,
}

html_theme = "pydata_sphinx_theme"
html_title = f"sknn {release}"
html_static_path = ["_static"]
html_css_files = ["sknn.css"]
html_favicon = "_static/favicon.svg"
html_show_sourcelink = False
html_use_index = False  # the API page lists all names, and the search finds methods
html_copy_source = False
html_context = {"default_mode": "auto"}  # without it, the theme complains
html_theme_options = {
    "logo": {"text": "sknn"},
    "header_links_before_dropdown": 4,
    "navbar_end": ["theme-switcher"],
    "secondary_sidebar_items": ["page-toc"],
    "show_toc_level": 2,
    "footer_start": ["copyright"],
    "footer_end": ["sphinx-version"],
}
html_sidebars = {
    page: []
    for page in ("getting_started", "api", "faq", "design", "performance", "changelog")
}


# What scikit-learn calls, and users do not.
HOOKS = {"setup", "teardown", "on_fit_task_begin", "on_fit_task_end"}


def skip_what_is_not_for_users(app, what, name, obj, skip, options):
    """Leave out hooks, fitted attributes, and what the bases of others bring along."""
    is_property = isinstance(obj, property)
    owner = inspect.unwrap(obj.fget if is_property else obj)
    is_ours = (getattr(owner, "__module__", None) or "").startswith("sknn")
    return skip or not is_ours or name in HOOKS or (is_property and name.endswith("_"))


def setup(app):
    """Connect what the extensions have no setting for."""
    app.connect("autodoc-skip-member", skip_what_is_not_for_users)
