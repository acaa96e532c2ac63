"""Classic convolutional networks in Keras: trained, measured, compared with PyTorch, exported.

Importing this package loads neither Keras nor TensorFlow; `kerasref.models` and the parts after it do.
"""

__version__ = "0.1.0"
