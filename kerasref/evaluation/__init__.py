"""What a trained network is worth: numbers, figures and one HTML report.

`evaluate` reads a run directory; the rest take arrays and know neither Keras nor data sets.
"""
