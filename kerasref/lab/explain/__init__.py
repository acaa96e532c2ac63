"""What a network sees and looks at; docs/looking-inside.md shows it.

    from kerasref.lab.explain import grad_cam, saliency
    grad_cam(model, inputs)            # heat maps [n, height, width] of the predicted classes
    saliency(model, inputs, classes)   # gradients [n, height, width, channels]

`model` is any functional keras.Model of images, `inputs` what it takes. `kerasref explain` draws them for image files.
Importing this package does not load Keras; using one of its names does.
"""

from kerasref.lazy import lazy_names

_NAMES = {
    "activation_maps": ("grad_cam",),
    "methods": ("feature_maps", "first_filters", "integrated_gradients", "occlusion", "saliency", "smooth_grad"),
}
__all__, __getattr__ = lazy_names(__name__, _NAMES)
