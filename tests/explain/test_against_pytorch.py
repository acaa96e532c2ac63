"""Heat maps and gradients as captum and pytorch-grad-cam compute them on the PyTorch twin, in float64."""

import numpy as np
import pytest
import torch
from captum import attr

from kerasref.evaluation.heat_maps import enlarged, hires_cam
from kerasref.lab.explain import feature_maps, grad_cam, integrated_gradients, occlusion, saliency, smooth_grad
from kerasref.lab.parity import pair
from kerasref.lab.parity.recording import find_module
from kerasref.models.inner_layers import last_feature_maps
from tests.networks import small

TOLERANCE = 1e-8
LAST_MAPS = (  # network, the layer of Grad-CAM, the module that gives the same
    ("notes_network", "conv", "relu"),
    ("mnist_cnn", "conv1", "relu"),
    ("fashion_cnn", "conv3", "conv3"),
    ("lenet5", "c3", "a3"),
    ("airbench", "block3_activation2", "block3_activation2"),
    ("resnet18", "stage4_block2_relu2", "layer4.1"),
    ("resnet50", "stage4_block3_relu3", "layer4.2"),
    ("resnet18_cifar", "stage4_block2_relu2", "layer4.1"),
    ("resnet20", "stage3_block3_relu2", "layer3.2"),
    ("plain20", "stage3_block3_relu2", "layer3.2"),
)
CLASSES = np.array([4, 0, 2])
OF_PIXELS = ("softmax_regression", "mlp", "lenet5", "fashion_cnn", "resnet20")  # networks for methods without a layer


@pytest.fixture
def twins(request, float64, torchvision):
    """(Keras model, PyTorch twin, images [3, height, width, channels], the same [3, channels, height, width])"""
    model, module, _ = pair(request.param, **small(request.param))
    images = np.random.default_rng(1).normal(size=(len(CLASSES), *model.input_shape[1:]))
    return model, module, images, torch.tensor(images.transpose(0, 3, 1, 2))


def close(found, expected):
    """Equal within 1e-8 of the largest value, which must not be 0."""
    expected = np.asarray(expected)
    scale = abs(expected).max()
    assert scale > 0
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE * scale)


of_pixels = pytest.mark.parametrize("twins", OF_PIXELS, indirect=True)


def from_0_to_1(maps):
    maps = maps - maps.min(axis=(1, 2), keepdims=True)
    return maps / (1e-7 + maps.max(axis=(1, 2), keepdims=True))


def channels_last(tensor):
    return tensor.detach().numpy().transpose(0, 2, 3, 1)


@pytest.mark.parametrize(("twins", "layer", "place"), LAST_MAPS, indirect=["twins"])
def test_grad_cam_and_feature_maps(twins, layer, place):
    # These import torchvision, which the fixture has made ready.
    from pytorch_grad_cam import GradCAM, GradCAMPlusPlus, HiResCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    model, module, images, tensor = twins
    assert last_feature_maps(model) == layer
    part, classes = find_module(module, place), module(tensor).argmax(1)  # of others the map may be 0
    targets = [ClassifierOutputTarget(label) for label in classes]

    of_captum = attr.LayerGradCam(module, part)
    expected = of_captum.attribute(tensor, classes, relu_attributions=True)
    close(grad_cam(model, images), expected.detach()[:, 0])

    for kind, method in ((GradCAM, "grad-cam"), (GradCAMPlusPlus, "grad-cam++"), (HiResCAM, "hires-cam")):
        with kind(module, [part]) as cam:
            scaled = cam(tensor, targets)  # float32, from 0 to 1, of the image's size
            kept = cam.activations_and_grads
            activations, gradients = kept.activations[0].numpy(), kept.gradients[0].numpy()
            maps = cam.get_cam_image(tensor, part, targets, activations, gradients, eigen_smooth=False)
        found = grad_cam(model, images, classes.numpy(), layer, method)
        close(found, np.maximum(maps, 0))
        shown = from_0_to_1(enlarged(from_0_to_1(found), images.shape[1:3]))  # they stretch twice
        np.testing.assert_allclose(shown, scaled, atol=2e-6)
    np.testing.assert_array_equal(hires_cam(model, images), found)
    close(feature_maps(model, images, layer), activations.transpose(0, 2, 3, 1))


@of_pixels
def test_saliency(twins):
    model, module, images, tensor = twins
    expected = attr.Saliency(module).attribute(tensor, torch.tensor(CLASSES), abs=False)
    close(saliency(model, images, CLASSES), channels_last(expected))


@of_pixels
def test_smooth_grad(twins):
    model, module, images, _ = twins
    found = smooth_grad(model, images, CLASSES, samples=4, noise=0.2, seed=3)
    random, of_captum = np.random.default_rng(3), attr.Saliency(module)
    for image, label, mean in zip(images, CLASSES, found, strict=True):
        noisy = image + 0.2 * (image.max() - image.min()) * random.normal(size=(4, *image.shape))
        tensor = torch.tensor(noisy.transpose(0, 3, 1, 2))
        close(mean, channels_last(of_captum.attribute(tensor, int(label), abs=False)).mean(axis=0))


@of_pixels
def test_integrated_gradients(twins):
    model, module, images, tensor = twins
    found = integrated_gradients(model, images, CLASSES, baseline=0.25, steps=8)
    of_captum = attr.IntegratedGradients(module)  # rounds the weights of the steps to float32
    expected = channels_last(of_captum.attribute(tensor, 0.25, torch.tensor(CLASSES), n_steps=8))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-7 * abs(expected).max())

    total, (points, weights) = 0, np.polynomial.legendre.leggauss(8)
    for point, weight in zip(points, weights, strict=True):
        between = (0.25 + (point + 1) / 2 * (tensor - 0.25)).requires_grad_()
        module(between)[np.arange(len(CLASSES)), CLASSES].sum().backward()
        total = total + weight / 2 * between.grad
    close(found, channels_last((tensor - 0.25) * total))


@pytest.mark.parametrize("twins", OF_PIXELS[:-1], indirect=True)  # of a ResNet it takes a minute
def test_occlusion(twins):
    model, module, images, tensor = twins
    channels, window, stride = images.shape[-1], 3, 2
    found = occlusion(model, images, CLASSES, window, stride, fill=0.5)
    of_captum = attr.Occlusion(module)  # sums up in float32
    sliding, steps = (channels, window, window), (channels, stride, stride)
    expected = of_captum.attribute(tensor, sliding, steps, 0.5, torch.tensor(CLASSES))
    np.testing.assert_allclose(found, expected[:, 0], atol=1e-6 * abs(expected).max())

    def scores(images):
        return module(images).detach().numpy()[np.arange(len(CLASSES)), CLASSES]

    before = scores(tensor)
    falls = [[[] for _ in range(images.shape[2])] for _ in range(images.shape[1])]  # of the squares on each pixel
    for top in range(0, images.shape[1] - window + stride, stride):
        for left in range(0, images.shape[2] - window + stride, stride):
            hidden = tensor.clone()
            hidden[:, :, top : top + window, left : left + window] = 0.5
            fall = before - scores(hidden)
            for row in falls[top : top + window]:
                for pixel in row[left : left + window]:
                    pixel.append(fall)
    close(found, np.array([[np.mean(pixel, axis=0) for pixel in row] for row in falls]).transpose(2, 0, 1))
