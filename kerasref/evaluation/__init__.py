"""What a trained network is worth: numbers, figures and one HTML report. Arrays in; knows no Keras and no data sets."""
