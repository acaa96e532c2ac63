"""What a trained network is worth: numbers, figures and one HTML report. Arrays in; knows neither Keras nor data sets."""
