"""The named recipes for Imagenette, ten classes of ImageNet's photographs: the large networks of the notes on a CPU."""

from dataclasses import replace

from kerasref.recipe import NamedRecipe, Recipe

_IMAGENETTE = Recipe(  # as fastai's for its leaderboard of 128 pixels, with a plain optimizer
    dataset="imagenette",
    image_size=128,
    normalization="imagenet",
    random_resized_crop=True,
    crop_scale=(0.35, 1.0),  # ImageNet's 0.08 needs more epochs
    flip=True,
    optimizer="momentum",
    nesterov=True,
    batch_size=64,
    learning_rate=0.05,
    weight_decay=5e-4,
    label_smoothing=0.1,
    schedule="cosine",
    warmup_epochs=2,
    epochs=40,
    precision="mixed_bfloat16",  # twice as fast where the processor has it
    selection_metric="accuracy",
)

IMAGENETTE_RECIPES: dict[str, NamedRecipe] = {
    "alexnet_owt_imagenette": NamedRecipe(
        replace(
            _IMAGENETTE,
            model="alexnet_owt",
            image_size=224,
            initializer="torchvision",
            learning_rate=0.01,  # Krizhevsky et al. 2012, section 5: there is no batch norm
            epochs=24,  # 224 pixels take longer than 128
        ),
        source="torchvision's AlexNet, trained for few images: ours",
        expected="our own goal: 84 %",
        result="80.97 % (1 seed)",
    ),
    "resnet18_imagenette": NamedRecipe(
        replace(_IMAGENETTE, model="resnet18", initializer="torchvision_resnet"),
        source="He et al. 2015's network, trained for few images: ours",
        expected="about 92 % (xResNet-50 at 128 pixels, 20 epochs; Imagenette's leaderboard)",
        result="86.37 % (1 seed)",
    ),
}
