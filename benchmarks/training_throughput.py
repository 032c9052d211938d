"""Training speed beside the documented system taken literally, in one run on one machine.

    earmark prepare path/to/ESC-10
    python benchmarks/training_throughput.py

Literally means: features in a Python list, a `DataLoader` with default collation and shuffling,
an LSTM of 128 x 2 over every frame at a 20 ms hop, the last output classified. Ours is the real
loop of `lstm_classifier_train.py`: augmentation, weight averaging and clipping included. Both
read the same clips and mels and use the same threads; the two take turns, so that whatever else
the machine does hits both.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from pathlib import Path

import accelerate
import numpy as np
import torch
from torch import Tensor, nn

from earmark.config import TrainingSettings
from earmark.data.splits import Split, read_split
from earmark.training.loop import Trainer


class Literal(nn.Module):
    """The documented network and nothing else: LSTM 128 x 2, last output, two linear layers."""

    def __init__(self, input_size: int, classes: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(input_size, 128, 2, batch_first=True, dropout=0.3)
        self.head = nn.Sequential(
            nn.Linear(128, 128), nn.ReLU(), nn.Dropout(0.3), nn.Linear(128, classes)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return logits `(batch, classes)` for `(batch, frames, input_size)`."""
        outputs, _ = self.lstm(x)
        logits: Tensor = self.head(outputs[:, -1])
        return logits


class LiteralTraining:
    """The documented system's loop: a list of features, a default DataLoader, Adam."""

    def __init__(self, split: Split, frames: int = 250) -> None:
        mean = torch.from_numpy(split.train.together().mean(0))
        scale = torch.from_numpy(split.train.together().std(0))
        clips = []
        for number, label in enumerate(split.train.labels):
            clip = (torch.from_numpy(split.train.clip(number)[:frames]) - mean) / scale
            clip = nn.functional.pad(clip, (0, 0, 0, frames - len(clip)))
            clips.append((clip, int(label)))
        self.clips = clips
        self.loader = torch.utils.data.DataLoader(clips, batch_size=32, shuffle=True)  # type: ignore[arg-type, var-annotated]
        self.model = Literal(split.train.features.shape[1], len(split.classes))
        self.optimizer = torch.optim.Adam(self.model.parameters(), 0.001)

    def epoch(self) -> float:
        """Train one epoch and return clips per second."""
        begin = time.perf_counter()
        for x, labels in self.loader:
            self.optimizer.zero_grad()
            nn.functional.cross_entropy(self.model(x), labels).backward()
            self.optimizer.step()
        return len(self.clips) / (time.perf_counter() - begin)


def main() -> None:
    """Alternate epochs of both, and print medians and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--splits_dir", type=Path, default=Path("splits"))
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    split = read_split(args.splits_dir, 0)
    literal = LiteralTraining(split)
    recipe = TrainingSettings()
    run = Trainer(split, recipe, accelerate.Accelerator(cpu=True), show_progress=False)
    crops, literal_speed, our_speed = run.steps * recipe.batch_size, [], []
    for number in range(args.rounds + 1):  # the first round warms up
        one = literal.epoch()
        begin = time.perf_counter()
        run.train_epoch(number + 1)
        two = crops / (time.perf_counter() - begin)
        if number:
            literal_speed.append(one)
            our_speed.append(two)
            print(f"round {number}: literal {one:.0f}, ours {two:.0f} clips/s", flush=True)
    one, two = float(np.median(literal_speed)), float(np.median(our_speed))
    print(
        f"\n{platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, "
        f"torch {torch.__version__}; {split.dataset}, {split.train.features.shape[1]} mels\n"
        f"| training | clips/s |\n|---|---|\n| documented, literally | {one:.0f} |\n"
        f"| earmark, augmented crops | {two:.0f} |\n| ratio | {two / one:.1f} |\n\n"
        f"An epoch of ours shows each clip in {recipe.crops_per_clip} crops; counted by clips, not "
        f"crops it is {two / recipe.crops_per_clip / one:.1f} times the literal speed."
    )


if __name__ == "__main__":
    main()
