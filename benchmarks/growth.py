"""How an epoch grows with rows, width, depth and the number of models, above the floor of its bare arithmetic."""

import itertools
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from report import PAGE, machine, publish, table

from sknn._devices import compute_scope, fits_one_thread
from sknn._learner import Learner, Recipe, TrainState
from sknn._losses import make_loss
from sknn._samples import Samples, place
from sknn._solvers import Solver, SolverOptions
from sknn._steps import choose_step
from sknn._train import train
from sknn.modules import MLP

N_FEATURES, N_CLASSES, BATCH, N_ROUNDS = 64, 10, 200, 7
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Setting:
    """What an epoch is made of; in each panel one of them grows."""

    rows: int = 2000
    width: int = 100
    depth: int = 1
    models: int = 1

    @property
    def sizes(self) -> list[int]:
        return [N_FEATURES, *[self.width] * self.depth, N_CLASSES]

    @property
    def work(self) -> int:
        return BATCH * max(a * b for a, b in itertools.pairwise(self.sizes))


GROWTH = {
    "rows": (1_000, 10_000, 100_000, 1_000_000),
    "width": (16, 64, 256, 1024, 4096),
    "depth": (1, 2, 4, 8, 16),
    "models": (1, 4, 16, 64, 256),
}


def epochs(setting: Setting):
    """Return the loop of that setting, to call `next` on."""
    rng = np.random.default_rng(0)
    modules = [
        MLP(N_FEATURES, N_CLASSES, setting.sizes[1:-1], "relu", random_state=k, dtype=torch.float32)
        for k in range(setting.models)
    ]
    loss = make_loss("log_loss", "softmax", 0.0, (N_CLASSES,))
    step = choose_step(modules, loss, alpha=1e-4, small=fits_one_thread(setting.work, CPU))
    flat = step.parameters
    solver = Solver("adam", flat.data, flat.grad, flat.decayed, [SolverOptions()] * setting.models)
    X = rng.normal(size=(setting.rows, N_FEATURES)).astype(np.float32)
    y = torch.from_numpy(rng.integers(N_CLASSES, size=(setting.rows, 1)))
    recipe = Recipe(
        batch_size=BATCH, learning_rate="constant", learning_rate_init=0.001, lowers_rate=False, power_t=0.5,
        max_iter=N_ROUNDS, max_fun=1, shuffle=True, tol=0.0, n_iter_no_change=np.inf, max_grad_norm=np.inf,
        stop_on_score=False, pairs=False,
    )  # fmt: skip
    samples, rows = Samples(place(X, CPU, torch.float32), y), np.arange(setting.rows)
    learners = [
        Learner(samples, rows, recipe, TrainState(0.001), np.random.RandomState(k)) for k in range(setting.models)
    ]
    return train(step, solver, learners)


def floor(setting: Setting) -> float:
    """Return the seconds of an epoch's matrix products, updates and gathered rows, each alone in a loop."""
    products, k = [], setting.models
    for i, (n_in, n_out) in enumerate(itertools.pairwise(setting.sizes)):
        # In the layout that is fastest most often.
        W, D = torch.rand(k, n_out, n_in).mT, torch.rand(k, n_out, BATCH).mT
        X = torch.rand(k, n_in, BATCH).mT if i else torch.rand(k, BATCH, n_in)
        products.append((X, W, torch.empty_like(D)))
        products.append((X.mT, D, torch.empty_like(W)))
        if i:
            products.append((D, W.mT, torch.empty_like(X)))
    data, grad, mean, square = torch.rand(4, k, sum((a + 1) * b for a, b in itertools.pairwise(setting.sizes)))
    rows, order = torch.rand(setting.rows, N_FEATURES), torch.randint(setting.rows, (k * BATCH,))
    count = torch.ones(())
    kinds = [
        *[lambda p=p: torch.bmm(p[0], p[1], out=p[2]) for p in products],
        lambda: torch._fused_adam_([data], [grad], [mean], [square], [], [count], lr=0.001, beta1=0.9, beta2=0.999,
                                   weight_decay=0.0, eps=1e-8, amsgrad=False, maximize=False),
        lambda: rows.index_select(0, order),
    ]  # fmt: skip
    return sum(seconds(kind) for kind in kinds) * setting.rows / BATCH


def seconds(function) -> float:
    times = []
    for _ in range(N_ROUNDS):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return float(np.median(times))


def measure(setting: Setting) -> tuple[float, float]:
    """Return the median seconds of an epoch, and of its floor."""
    loop = epochs(setting)
    with compute_scope(setting.work, CPU):
        next(loop)
        return seconds(lambda: next(loop)), floor(setting)


def draw(panels: dict[str, list[tuple[int, float, float]]], path: Path) -> None:
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(panels), figsize=(12, 3.2), sharey=True, layout="constrained")
    for ax, (name, points) in zip(axes, panels.items(), strict=True):
        sizes, taken, least = zip(*points, strict=True)
        ax.loglog(sizes, taken, "o-", color="#0072B2", label="an epoch")
        ax.loglog(sizes, least, "s--", color="#D55E00", label="products, updates and gathering alone")
        ax.set(xlabel=name, xticks=sizes, xticklabels=[f"{size:,}" for size in sizes])
        ax.minorticks_off()
        ax.grid(alpha=0.3)
    axes[0].set_ylabel("seconds")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
    figure.savefig(path, dpi=100)


def main() -> None:
    panels, rows = {}, []
    for name, sizes in GROWTH.items():
        panels[name] = [(size, *measure(replace(Setting(), **{name: size}))) for size in sizes]
        for size, taken, least in panels[name]:
            rows.append([name, f"{size:,}", f"{taken * 1e3:.3g} ms", f"{taken / least:.1f}"])
            print(rows[-1], flush=True)
    draw(panels, PAGE.with_name("growth.png"))
    base = Setting()
    publish(
        "growth",
        "![Time of an epoch against rows, width, depth and models, beside its floor](growth.png)\n\n"
        + table(["what grows", "size", "an epoch", "times its floor"], rows)
        + f"\n\nWhat does not grow: {base.rows:,} rows of {N_FEATURES} features, {base.depth} hidden layer of"
        f" {base.width}, {N_CLASSES} classes, Adam, batches of {BATCH}. Medians of n = {N_ROUNDS} epochs; {machine()}.",
    )


if __name__ == "__main__":
    main()
