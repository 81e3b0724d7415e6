"""Work that is done in a thread while its previous result is used."""

from concurrent.futures import ThreadPoolExecutor

from sklearn import config_context, get_config

_END = object()


def one_ahead(iterator):
    """The elements of an iterator, each computed while the one before is used.

    Not more than two elements are in memory at once. Errors are those of the iterator.
    """
    iterator, config = iter(iterator), get_config()  # of scikit-learn, which is that of a thread

    def step():
        with config_context(**config):
            return next(iterator, _END)

    try:
        with ThreadPoolExecutor(1, thread_name_prefix="skfm-streams") as pool:
            coming = pool.submit(step)
            while (element := coming.result()) is not _END:
                coming = pool.submit(step)
                yield element
    finally:
        if hasattr(iterator, "close"):
            iterator.close()
