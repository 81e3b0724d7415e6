"""Compiled arithmetic: NumPy arrays in, NumPy arrays out. Imports numpy, math and numba only."""
