"""A trained network as a file that others use: raw pictures in, class names out."""
