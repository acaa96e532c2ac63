"""The named recipes for ImageNet: torchvision's reference trainings, and those of the papers."""

from dataclasses import replace

from kerasref.recipe import NamedRecipe, Recipe

_IMAGENET = Recipe(  # torchvision's reference training (references/classification), weights V1
    dataset="imagenet2012",
    resize_size=256,
    image_size=224,
    normalization="imagenet",
    validation=0.01,  # not in torchvision: 12,800 images; the dataset's own validation split is the test set here
    random_resized_crop=True,
    flip=True,
    optimizer="momentum",
    batch_size=256,  # there 8 devices with 32 each
    learning_rate=0.1,
    weight_decay=1e-4,
    decay_scope="all",
    schedule="step",
    decay_epochs=(30, 60),
    epochs=90,
    selection_metric="accuracy",
)
_MODERN = replace(  # torchvision's second references, weights V2, as its article on training recipes describes them
    _IMAGENET,
    resize_size=232,
    train_size=176,  # 224 for the evaluation
    random_erasing=0.1,
    trivial_augment=True,
    mixup=0.2,
    cutmix=1.0,
    label_smoothing=0.1,
    batch_size=1024,
    learning_rate=0.5,
    weight_decay=2e-5,
    decay_scope="kernels",  # --norm-weight-decay 0; there biases have a decay
    schedule="cosine",
    decay_epochs=(),
    warmup_epochs=5,
    ema=0.99891,  # --model-ema-decay 0.99998 at a batch of 1024 and 600 epochs
    ema_every=32,
    epochs=600,  # repeated augmentation is left out: an epoch has every image once
    initializer="torchvision_resnet",
)

IMAGENET_RECIPES: dict[str, NamedRecipe] = {
    "alexnet": NamedRecipe(
        replace(
            _IMAGENET,
            model="alexnet",
            image_size=227,  # the notes' arithmetic needs 227
            color_shift=0.1,  # Krizhevsky et al. 2012, section 4.1
            initializer="torchvision",
            learning_rate=0.01,  # section 5; without batch norm 0.1 diverges
            weight_decay=5e-4,  # section 5
            batch_size=128,
            schedule="plateau",  # section 5: divided by 10 when the validation error no longer improves
            plateau_patience=5,
            decay_epochs=(),
        ),
        source="Krizhevsky et al. 2012, section 5",
        expected="59.3 % top-1 with two towers (Krizhevsky et al. 2012, table 1: 40.7 % error)",
    ),
    "alexnet_owt": NamedRecipe(
        replace(_IMAGENET, model="alexnet_owt", initializer="pytorch", learning_rate=0.01),
        source="torchvision's reference training",
        expected="56.522 % top-1 (torchvision's weights V1)",
    ),
    "vgg16": NamedRecipe(
        replace(
            _IMAGENET,
            model="vgg16",
            initializer="torchvision",
            learning_rate=0.01,  # Simonyan and Zisserman 2015, section 3.1
            weight_decay=5e-4,  # the same place
            batch_size=32,
        ),
        source="Simonyan and Zisserman 2015, section 3.1",
        expected="71.592 % top-1 (torchvision's weights V1)",
    ),
    "resnet18": NamedRecipe(
        replace(_IMAGENET, model="resnet18", initializer="torchvision_resnet"),
        source="torchvision's reference training",
        expected="69.758 % top-1 (torchvision's weights V1)",
    ),
    "resnet50": NamedRecipe(
        replace(_IMAGENET, model="resnet50", initializer="torchvision_resnet"),
        source="torchvision's reference training",
        expected="76.130 % top-1 (torchvision's weights V1)",
    ),
    "resnet18_modern": NamedRecipe(
        replace(_MODERN, model="resnet18"),
        source="torchvision's second reference training",
        expected="not published for ResNet-18 (V1: 69.758 %)",
    ),
    "resnet50_modern": NamedRecipe(
        replace(_MODERN, model="resnet50"),
        source="torchvision's second reference training",
        expected="80.674 % top-1 (torchvision's second recipe)",
    ),
}
