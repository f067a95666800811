"""Where the time of a LeNet step goes: memory layout, batch size, threads, and the share of each kind of work."""

import itertools
import time

import numpy as np
import torch
from report import machine, publish, table
from torch import nn
from torch.profiler import ProfilerActivity, profile

from sknn import LeNetClassifier
from sknn.modules import LeNet5

BATCHES, THREADS = (32, 64, 128, 256), (1, 2)
LAYOUTS = {"contiguous": torch.contiguous_format, "channels last": torch.channels_last}
N_ROUNDS = 9
KINDS = {
    "convolution, backward": ["aten::convolution_backward"],
    "convolution, forward": ["aten::mkldnn_convolution", "aten::_slow_conv2d_forward", "aten::thnn_conv2d"],
    "pooling": ["aten::max_pool2d_with_indices", "aten::max_pool2d_with_indices_backward"],
    "dense layers": ["aten::addmm", "aten::mm"],
    "activations": ["aten::clamp_min", "aten::relu", "aten::threshold_backward"],
    "copies and conversion": ["aten::copy_", "aten::constant_pad_nd"],
    "gather of the batch": ["aten::index_select"],
    "update of the weights": ["aten::_fused_adam_"],
}


def milliseconds(layout: torch.memory_format, batch_size: int) -> float:
    """Return the time of a forward and backward pass, in a loop of plain PyTorch."""
    network = LeNet5(random_state=0).to(memory_format=layout)
    X = torch.rand(batch_size, 1, 32, 32).contiguous(memory_format=layout)
    y = torch.arange(batch_size) % 10
    start = time.perf_counter()
    for _ in range(10):
        nn.functional.cross_entropy(network(X), y).backward()
    return (time.perf_counter() - start) * 100


def layouts() -> str:
    """Return a table of milliseconds per 64 images; the settings take turns in every round."""
    settings = list(itertools.product(THREADS, LAYOUTS, BATCHES))
    times: dict[tuple, list[float]] = {setting: [] for setting in settings}
    before = torch.get_num_threads()
    try:
        for _ in range(N_ROUNDS):
            for threads, layout, batch_size in settings:
                torch.set_num_threads(threads)
                times[threads, layout, batch_size].append(milliseconds(LAYOUTS[layout], batch_size) * 64 / batch_size)
    finally:
        torch.set_num_threads(before)
    rows = [
        [f"{layout}, {threads} thread{'s' * (threads > 1)}"]
        + [f"{np.median(times[threads, layout, batch_size]):.1f}" for batch_size in BATCHES]
        for threads, layout in itertools.product(THREADS, LAYOUTS)
    ]
    return table(["ms per 64 images, batches of", *map(str, BATCHES)], rows)


def shares() -> str:
    """Return a table of what an epoch of the estimator spends its time on."""
    images = np.random.default_rng(0).integers(0, 256, (6400, 28, 28), dtype=np.uint8)
    network, y = LeNetClassifier(max_iter=1, random_state=0), np.arange(6400) % 10
    network.fit(images, y)
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        network.fit(images, y)
    times = {event.key: event.self_cpu_time_total for event in profiler.key_averages()}
    total = sum(times.values())
    inside = {"aten::convolution_backward": "aten::mkldnn_convolution_backward"}  # names of the same work
    part = {
        kind: sum(times.get(name, 0) + times.get(inside.get(name, ""), 0) for name in names)
        for kind, names in KINDS.items()
    }
    rows = [[kind, f"{value / total:.0%}"] for kind, value in sorted(part.items(), key=lambda item: -item[1])]
    return table(
        ["part of an epoch, batches of 64", "share"], [*rows, ["the rest", f"{1 - sum(part.values()) / total:.0%}"]]
    )


def main() -> None:
    text = [layouts(), shares(), f"Medians of n = {N_ROUNDS} rounds; {machine()}."]
    publish("convolutions", "\n\n".join(text))


if __name__ == "__main__":
    main()
