"""PyTorch's side of the benchmark, built inside a worker: steps of a twin, batches of a DataLoader."""

import contextlib
import itertools
from pathlib import Path

import numpy as np

from kerasref.lab.benchmark.workloads import MATRIX, WORKLOADS
from kerasref.pytorch.installed import import_torchvision, nn, torch
from kerasref.pytorch.models import build_twin

MOMENTUM = 0.9


def steps(workload: str, precision: str, settings: str) -> dict:
    """Measures training steps and predictions of a twin on one batch of noise in memory, or on the GPU.

    settings: "eager", "compiled" (torch.compile), "frozen" (the same with weights as constants, batch norm folded) or
    "frozen autotuned" (max_autotune), each also with " channels_last"; a frozen module predicts only. Optimizers are
    the fused ones, bfloat16 is autocast. No metric or loss is read in between: PyTorch at its best.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.set_float32_matmul_precision("high")  # TF32 on a GPU, as TensorFlow has it
    chosen = WORKLOADS[workload]
    recipe, (images, labels) = chosen.recipe(), chosen.batch()
    images = torch.tensor(np.ascontiguousarray(images.transpose(0, 3, 1, 2))).to(device)
    labels = torch.tensor(labels).to(device)
    module = build_twin(recipe.model, chosen.input_shape, chosen.num_classes).to(device)
    if "channels_last" in settings:
        module, images = module.to(memory_format=torch.channels_last), images.to(memory_format=torch.channels_last)
    rule = {"adam": torch.optim.Adam, "momentum": torch.optim.SGD}[recipe.optimizer]
    options = {"momentum": MOMENTUM} if recipe.optimizer == "momentum" else {}
    options |= {"lr": recipe.learning_rate, "weight_decay": recipe.weight_decay}
    update = rule(module.parameters(), fused=True, **options)
    called = module
    if "frozen" in settings:
        called = torch.compile(module, options={"freezing": True, "max_autotune": "autotuned" in settings})
    elif "compiled" in settings:
        called = torch.compile(module)
    low = precision == "bfloat16"
    arithmetic = torch.autocast(device.type, torch.bfloat16) if low else contextlib.nullcontext()

    def train(count):
        module.train()
        for _ in range(count):
            update.zero_grad()
            with arithmetic:
                loss = nn.functional.cross_entropy(called(images), labels)
            loss.backward()
            update.step()
        loss.item()  # waits for a GPU
        return count * chosen.batch_size

    def infer(count):
        module.eval()
        with torch.inference_mode(), arithmetic:
            for _ in range(count):
                logits = called(images)
        logits.float().cpu()
        return count * chosen.batch_size

    matrix = torch.randn(MATRIX, MATRIX, device=device, dtype=getattr(torch, precision))

    def matmul(count):
        for _ in range(count):
            product = matrix @ matrix
        product[0, 0].item()
        return count * 2 * MATRIX**3

    return {"train": train, "infer": infer, "matmul": matmul, "facts": {"settings": settings}}


class _Images(torch.utils.data.Dataset):
    """uint8 images [n, H, W, C] and labels from an .npz file, one at a time as PIL gives them to torchvision."""

    def __init__(self, file: Path, transform):
        with np.load(file) as arrays:
            self.images, self.labels = arrays["images"], arrays["labels"]
        self.transform = transform

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, i):
        from PIL import Image

        image = self.images[i]
        return self.transform(Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)), int(self.labels[i])


def pipeline(file: str, batch_size: int, crop_padding: int, flip: bool, num_workers: int, unit: int):
    """Measures a DataLoader with torchvision's transforms, `unit` batches at a time, as the notes read images."""
    transforms = import_torchvision().transforms
    side = np.load(file)["images"].shape[1]
    steps = [transforms.RandomCrop(side, crop_padding)] if crop_padding else []
    steps += [transforms.RandomHorizontalFlip()] if flip else []
    steps += [transforms.ToTensor(), transforms.Normalize((0.5,), (0.5,))]
    images = _Images(Path(file), transforms.Compose(steps))
    loader = torch.utils.data.DataLoader(images, batch_size, shuffle=True, num_workers=num_workers)

    endless = itertools.chain.from_iterable(itertools.repeat(loader))  # epoch after epoch

    def batches(count):
        return sum(len(labels) for _, labels in itertools.islice(endless, count * unit))

    return {"batches": batches}
