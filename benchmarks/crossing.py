"""Where company pays: epochs of networks that train together beside as many one after the other, by their width."""

from growth import BATCH, CPU, Setting, epochs, seconds
from report import machine, publish, spread, table

from sknn._devices import compute_scope, fits_one_thread

N_MODELS, N_ROUNDS, WIDTHS = 8, 9, (4, 16, 64, 128, 256, 512, 1024)


def times_as_long(width: int) -> list[float]:
    """Return how many times as long the networks take one after the other, in each round."""
    one, together = Setting(width=width), Setting(width=width, models=N_MODELS)
    ratios, loops = [], [epochs(one), epochs(together)]
    with compute_scope(one.work, CPU):
        for loop in loops:
            next(loop)
        for _ in range(N_ROUNDS):
            alone, stacked = (seconds(lambda loop=loop: next(loop)) for loop in loops)
            ratios.append(N_MODELS * alone / stacked)
    return ratios


def main() -> None:
    rows = []
    for width in WIDTHS:
        work = Setting(width=width).work
        kind = "together" if fits_one_thread(work, CPU) else "one after the other"
        rows.append([str(width), f"{work / 1e6:.1f}", spread(times_as_long(width)), kind])
        print(rows[-1], flush=True)
    header = ["width", "million multiply-adds of a batch", "times as long one after the other", "a search trains them"]
    publish(
        "crossing",
        table(header, rows)
        + f"\n\n{N_MODELS} networks with one hidden layer of that width, batches of {BATCH} rows of 64 features."
        f" Medians (smallest to largest) of n = {N_ROUNDS} rounds; {machine()}.",
    )


if __name__ == "__main__":
    main()
