"""What depends on addresses on the web; all other metadata is in setup.cfg."""

import re
import runpy
from pathlib import Path

from setuptools import setup

# The one place for it: fill it in before the first release, as "https://github.com/OWNER/skfm".
REPOSITORY = ""
HERE = Path(__file__).parent
DOCUMENTATION = runpy.run_path(str(HERE / "skfm" / "_version.py"))["DOCUMENTATION"]


def with_absolute_links(text):
    """Text in Markdown with links to files of the repository as the package index needs them."""
    text = re.sub(r"(!\[[^]]*\]\()(?!https?://)", rf"\1{REPOSITORY}/raw/main/", text)
    return re.sub(r"\]\((?!https?://|#)", f"]({REPOSITORY}/blob/main/", text)


readme = (HERE / "README.md").read_text(encoding="utf-8")
if REPOSITORY:
    setup(
        long_description=with_absolute_links(readme),
        project_urls={
            "Source": REPOSITORY,
            "Documentation": DOCUMENTATION or f"{REPOSITORY}/tree/main/docs",
            "Changelog": f"{REPOSITORY}/blob/main/CHANGELOG.md",
            "Issues": f"{REPOSITORY}/issues",
        },
    )
else:
    setup(long_description=readme)
