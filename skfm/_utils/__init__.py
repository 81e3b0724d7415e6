"""What estimators and solvers share: validation, ids, sparse matrices, threads, progress."""
