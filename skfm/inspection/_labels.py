"""Labels of points that do not overlap."""

import numpy as np

GAP = 3  # points between a point and its label
DIRECTIONS = np.array([(1, 0), (-1, 0), (0, 1), (0, -1)])  # in which a label is tried
TRIES = 5  # points that are tried for each label that is asked for


def place_labels(ax, positions, labels, order, n_labels, text_kw):
    """Write labels beside points, in this order, where they overlap no label written before.

    Each label is tried to the right, to the left, above and below its point, within the axes. It
    is left out if no place is free. Returns the texts.
    """
    ax.autoscale_view()  # else it would wait until all is drawn, and move the points
    within, pixels = ax.get_window_extent().extents, ax.transData.transform(positions)
    per_point = ax.figure.dpi / 72
    taken, texts = np.zeros((0, 4)), []  # left, bottom, right, top in pixels
    for point in order[: TRIES * n_labels]:
        text = ax.annotate(
            labels[point],
            positions[point],
            xytext=(0, 0),
            textcoords="offset points",
            **{"ha": "center", "va": "center"} | text_kw,
        )
        box = text.get_window_extent().extents
        half = (box[2:] - box[:2]) / 2
        for offset in DIRECTIONS * (GAP * per_point + half):
            center = pixels[point] + offset
            box = np.concatenate([center - half, center + half])
            if _is_free(box, taken) and _is_inside(box, within):
                text.xyann = tuple(offset / per_point)
                taken = np.vstack([taken, box])
                texts.append(text)
                break
        else:
            text.remove()
        if len(texts) == n_labels:
            break
    return texts


def _is_free(box, taken):
    left, bottom, right, top = taken.T
    overlap = (box[0] < right) & (left < box[2]) & (box[1] < top) & (bottom < box[3])
    return not overlap.any()


def _is_inside(box, within):
    return (box[:2] >= within[:2]).all() and (box[2:] <= within[2:]).all()
