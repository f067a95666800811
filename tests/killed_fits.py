"""Fit in child processes that are killed at random moments, again and again; print what each fit that ended came to.

The children are forked before torch has computed anything, which is sooner done than a new process each time.
"""

import hashlib
import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

from sknn import LeNetClassifier, MLPTorchClassifier
from sknn.callbacks import Checkpoint

X, Y = load_digits(return_X_y=True)
COMMON = {"max_iter": 15, "batch_size": 32, "early_stopping": True, "n_iter_no_change": np.inf, "random_state": 3}
FITS = {
    "mlp": MLPTorchClassifier((50,), dropout=0.2, batch_norm=True, **COMMON),
    "lenet": LeNetClassifier(random_shift=1, dtype="float32", **COMMON | {"max_iter": 6}),
}


def fit(name, callbacks, result):
    network = FITS[name].set_callbacks(*callbacks).fit(X[:300], Y[:300])
    digest = hashlib.sha256()
    for tensor in network.module_.state_dict().values():
        digest.update(tensor.numpy().tobytes())
    told = {"weights": digest.hexdigest(), "losses": network.loss_curve_, "scores": network.validation_scores_}
    result.write_text(json.dumps(told))


def in_child(work, kill_after=None):
    """Do that work in a child process; return whether it ended by itself."""
    child = os.fork()
    if child == 0:
        work()
        os._exit(0)
    if kill_after is not None:
        time.sleep(kill_after)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if status not in (0, signal.SIGKILL):
        raise RuntimeError(f"the child ended with status {status}")
    return status == 0


def main():
    name, folder, n_kills = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    started, result, moments = time.perf_counter(), folder / "result.json", random.Random(0)
    in_child(lambda: fit(name, [Checkpoint(folder)], result))
    seconds = time.perf_counter() - started
    in_child(lambda: fit(name, [], result))
    print(result.read_text())
    n_killed, longest = 0, seconds / 16
    while n_killed < n_kills:
        result.unlink(missing_ok=True)
        while not in_child(lambda: fit(name, [Checkpoint(folder)], result), moments.uniform(0, longest)):
            n_killed, longest = n_killed + 1, longest * 1.1  # a fit gets on, however busy the machine is
        print(result.read_text())


if __name__ == "__main__":
    main()
