"""How parameters are learned: plain Python loops over epochs. Knows no estimator."""
