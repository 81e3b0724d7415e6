"""Files that change all at once or not at all."""

import os
import shutil
import uuid
from contextlib import contextmanager, suppress


@contextmanager
def replacing(path):
    """A path to write to, beside ``path``, whose file takes the place of that one at the end.

    Other processes find the old file or the new one, whole. An error leaves the old one. The new
    one has the mode of the old.
    """
    # A name of its own: one that starts with that of the file might be too long.
    draft = path.with_name(f"skfm-{uuid.uuid4().hex}.tmp")
    try:
        yield draft
        with suppress(FileNotFoundError):
            shutil.copymode(path, draft)
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)
