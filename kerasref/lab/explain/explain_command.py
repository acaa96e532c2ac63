"""kerasref explain MODEL IMAGE… [--method grad-cam …] [--layer NAME]: draw where a network looks."""

from pathlib import Path
from typing import Annotated, Literal

import tyro

from kerasref.command_line import import_tensorflow, quiet_start
from kerasref.errors import UserError
from kerasref.pretrained import FOLDER, find
from kerasref.text import printable

Method = Literal[
    "grad-cam",
    "grad-cam++",
    "hires-cam",
    "saliency",
    "smooth-grad",
    "integrated-gradients",
    "occlusion",
    "feature-maps",
    "filters",
]


def explain(
    model: Annotated[Path, tyro.conf.Positional],
    images: Annotated[tuple[Path, ...], tyro.conf.Positional] = (),
    method: tuple[Method, ...] = ("grad-cam",),
    layer: str | None = None,
    target: str | None = None,
    out: Path | None = None,
    invert: Literal["auto", "yes", "no"] = "auto",
    trust: bool = False,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
) -> None:
    """Draw where a network looks: heat maps over images, the feature maps of a layer, the filters of the first layer.

    Args:
        model: a pretrained network (`kerasref models`), a run directory or a .keras file
        images: image files; --method filters alone needs none
        method: one or several; grad-cam, grad-cam++ and hires-cam need a convolution, the others do not
        layer: the layer of Grad-CAM and of the feature maps; by default the last with the maps of a convolution
        target: the class that is explained; by default the predicted one
        out: folder of the PNG files; by default `explained` in the run directory, or next to the file; of a pretrained
            network explained/NAME
        invert: digits only: turn dark on light into light on dark; auto looks at the image
        trust: open a .keras file that is not of a run; its code runs
        mean: of such a file: what it expects to be subtracted from pixels in [0, 1], as of `predict`
        std: of such a file: and to be divided by
    """
    if not images and {*method} != {"filters"}:
        raise UserError("no image given; expected image files after the model")
    if layer and not {*method} & {"grad-cam", "grad-cam++", "hires-cam", "feature-maps"}:
        raise UserError(f"--layer {layer} has no effect on --method {' '.join(method)}; it is for grad-cam")
    path = find(model)
    if out is None:
        out = Path("explained", path.stem) if path.parent == FOLDER else path.parent / "explained"
        out = path / "explained" if path.is_dir() else out
    if out.is_file():
        raise UserError(f"--out {out} is a file, expected a folder")
    import_tensorflow()
    with quiet_start():
        from kerasref.export.sources import open_source
        from kerasref.lab.explain.explaining import Explainer

        explainer = Explainer(open_source(path, trust, mean=mean, std=std), method, layer, target)
    for file in explainer.draw_filters(out):
        print(printable(f"filters: {file}"))
    failed = []
    for number, image in enumerate(images, 1):
        name = f"{number:03}-{image.stem}" if len(images) > 1 else image.stem
        try:
            answer, files = explainer.draw_image(image, invert, out, name)
        except UserError as error:  # the other images are drawn
            failed.append(str(error))
            continue
        print(printable(f"{image}: {answer}: {', '.join(map(str, files))}"))
    if failed:
        raise UserError("\n".join(failed))
