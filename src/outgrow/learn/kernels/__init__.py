"""Compiled loops. Each file imports numba, so nothing here is imported before it is used."""
