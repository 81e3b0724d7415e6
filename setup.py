"""What depends on the address of the repository; all other metadata is in setup.cfg."""

import re
from pathlib import Path

from setuptools import setup

# The one place for it: fill it in before the first release, as "https://github.com/OWNER/skfm".
REPOSITORY = ""


def with_absolute_links(text):
    """Text in Markdown with links to files of the repository as the package index needs them."""
    text = re.sub(r"(!\[[^]]*\]\()(?!https?://)", rf"\1{REPOSITORY}/raw/main/", text)
    return re.sub(r"\]\((?!https?://|#)", f"]({REPOSITORY}/blob/main/", text)


readme = Path(__file__).with_name("README.md").read_text(encoding="utf-8")
if REPOSITORY:
    setup(
        long_description=with_absolute_links(readme),
        project_urls={
            "Source": REPOSITORY,
            "Documentation": f"{REPOSITORY}/tree/main/docs",
            "Changelog": f"{REPOSITORY}/blob/main/CHANGELOG.md",
            "Issues": f"{REPOSITORY}/issues",
        },
    )
else:
    setup(long_description=readme)
