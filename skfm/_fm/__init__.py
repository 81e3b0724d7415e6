"""FMRegressor, FMClassifier and their Bayesian relatives."""
