"""Datasets by name or folder, as `tf.data` batches for (split, seed, epoch); and one user's image as a model input.

Importing this package loads neither TensorFlow nor TensorFlow Datasets: they come with the first use.
"""

from kerasref.data.augmentation import Augmentation
from kerasref.data.dataset import ImageDataset, MemorySplit, Split
from kerasref.data.loading import check_available, load_dataset
from kerasref.data.preprocessing import Preprocessing

__all__ = ["Augmentation", "ImageDataset", "MemorySplit", "Preprocessing", "Split", "check_available", "load_dataset"]
