"""Models without factors: neighbors, weights between items, and the scores that they give."""
