"""Work that is done in a thread while its previous result is used."""

import threading
from concurrent.futures import ThreadPoolExecutor

from sklearn import config_context, get_config

_END = object()


def one_ahead(iterator):
    """The elements of an iterator, each computed while the one before is used.

    Not more than two elements are in memory at once. Errors are those of the iterator.
    """
    iterator, config = iter(iterator), get_config()  # of scikit-learn, which is that of a thread
    is_used = threading.Lock()  # the iterator

    def step():
        with config_context(**config), is_used:
            return next(iterator, _END)

    try:
        with ThreadPoolExecutor(1, thread_name_prefix="skfm-streams") as pool:
            coming = pool.submit(step)
            while (element := coming.result()) is not _END:
                coming = pool.submit(step)
                yield element
    finally:
        # Control-C may end the wait for the thread while it computes an element. Nobody can close
        # the iterator then; it closes itself with its last reference, which the thread has.
        if is_used.acquire(blocking=False):
            if hasattr(iterator, "close"):
                iterator.close()
            is_used.release()
