"""Metrics, plots and one HTML report of a trained network.

`evaluate` reads a run directory; the other modules take arrays and need neither Keras nor datasets.
"""
