"""Training of factorization machines."""
