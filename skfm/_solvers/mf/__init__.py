"""Matrix factorization: alternating least squares and stochastic gradient descent."""
