"""The notes' own PyTorch program (chapter 手写数字识别模型), in our words.

python -m kerasref.lab.benchmark.notes_program ROOT SEED [EPOCHS]

Their network, batch 64, Adam 1e-3, 10 epochs, torchvision's MNIST read through a DataLoader in this very process, the
loss read after each step, the test set at the end. ROOT/MNIST/raw holds the four IDX files. Prints a line of JSON when
the first step is done, and one with the accuracy at the end.
"""

import json
import sys
import time

from kerasref.pytorch.installed import import_torchvision, nn, torch
from kerasref.pytorch.models import build_twin


def train_and_test(root: str, seed: int, epochs: int = 10) -> None:
    torchvision = import_torchvision()
    torch.manual_seed(seed)
    transform = torchvision.transforms.Compose(
        [torchvision.transforms.ToTensor(), torchvision.transforms.Normalize((0.5,), (0.5,))]
    )
    train_set, test_set = (torchvision.datasets.MNIST(root, train=part, transform=transform) for part in (True, False))
    train_loader = torch.utils.data.DataLoader(train_set, batch_size=64, shuffle=True)
    test_loader = torch.utils.data.DataLoader(test_set, batch_size=64, shuffle=False)
    model = build_twin("mnist_cnn", (28, 28, 1), 10).train()  # `CNN` of the notes
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001)
    said = False
    for epoch in range(epochs):
        running_loss = 0.0
        for inputs, labels in train_loader:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(inputs), labels)
            loss.backward()
            optimizer.step()
            running_loss += loss.item()
            if not said:
                print(json.dumps({"event": "first_step", "cpu": time.process_time()}), flush=True)
                said = True
        print(f"epoch {epoch + 1}, loss {running_loss / len(train_loader):.4f}", file=sys.stderr)
    right = 0
    with torch.no_grad():
        for inputs, labels in test_loader:
            right += int((model(inputs).argmax(-1) == labels).sum())
    print(json.dumps({"event": "done", "accuracy": right / len(test_set)}), flush=True)


if __name__ == "__main__":
    train_and_test(sys.argv[1], *map(int, sys.argv[2:]))
