"""Distinct ids that are learned chunk by chunk."""

from itertools import repeat

import numpy as np

from skfm._utils.ids import Ids
from skfm._utils.sorted_search import find_sorted


class GrowingIds:
    """The ids seen so far, each with a code. Numbers are searched, objects looked up."""

    def __init__(self):
        self._places = {}  # codes of objects
        self._numbers = None  # sorted
        self._codes = np.empty(0, np.int64)  # of these numbers

    def learn(self, distinct):
        """Codes of distinct ids: those that are known, and the next ones for all others."""
        if distinct.dtype.kind == "O":
            return self._learn_objects(distinct.tolist())
        if self._numbers is None:
            self._numbers = distinct[:0]
        new = np.sort(distinct[find_sorted(self._numbers, distinct) < 0])
        if new.size:
            places = np.searchsorted(self._numbers, new)
            codes = np.arange(self._codes.size, self._codes.size + new.size)
            self._codes = np.insert(self._codes, places, codes)
            self._numbers = np.insert(self._numbers, places, new)
        return self._codes[find_sorted(self._numbers, distinct)]

    def _learn_objects(self, values):
        places = self._places
        codes = np.fromiter(map(places.get, values, repeat(-1)), np.int64, count=len(values))
        new = np.flatnonzero(codes < 0)
        codes[new] = np.arange(len(places), len(places) + new.size)
        for place, code in zip(new.tolist(), codes[new].tolist(), strict=True):
            places[values[place]] = code
        return codes

    def finish(self):
        """The sorted ids, and for each code the place of its id."""
        if self._numbers is not None:
            ids, codes = self._numbers, self._codes
        else:
            objects = sorted(self._places)
            ids = np.fromiter(objects, dtype=object, count=len(objects))
            codes = np.fromiter(map(self._places.__getitem__, objects), np.int64, count=ids.size)
        places = np.empty_like(codes)
        places[codes] = np.arange(codes.size)
        return Ids(ids), places
