"""Peak memory of fits, each in a process of its own, above what importing the package takes."""

import subprocess
import sys

from report import machine, publish, spread, table

N_PROCESSES = 7
BEGIN = """
import resource, sys, tempfile, warnings
warnings.simplefilter("ignore")
import numpy as np
from sklearn.utils import check_random_state
from sknn import LeNetClassifier, MLPTorchClassifier
from sknn.datasets import fetch_mnist

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 if sys.platform == "linux" else 1024) / 1024

before, rng = peak(), check_random_state(0)
network = MLPTorchClassifier((100, 100), batch_size=64, max_iter=1, random_state=0, device="cpu")
"""
END = """
print(peak() - before, size / 2**20)
"""
CASES = {
    "MNIST as bytes, 784-100-100-10": """
mnist = fetch_mnist(subset="train")
size = mnist.data.nbytes
network.fit(mnist.data, mnist.target)
""",
    "MNIST as bytes, LeNet": """
mnist = fetch_mnist(subset="train")
size = mnist.data.nbytes
LeNetClassifier(max_iter=1, random_state=0).fit(mnist.data, mnist.target)
""",
    "60,000 x 784 in float32, 784-100-100-10": """
X = np.empty((60_000, 784), np.float32)
for part in np.split(X, 60):
    part[:] = rng.uniform(size=part.shape)
size = X.nbytes
network.fit(X, rng.randint(10, size=60_000))
""",
    "100,000 x 50,000 sparse, density 0.001, 50,000-16-2": """
import scipy.sparse
n, d, in_row = 100_000, 50_000, 50
columns = rng.randint(d, size=n * in_row)
X = scipy.sparse.csr_array((np.ones(n * in_row, np.float32), columns, np.arange(0, n * in_row + 1, in_row)), (n, d))
size = X.data.nbytes + X.indices.nbytes + X.indptr.nbytes
network.set_params(hidden_layer_sizes=16, batch_size=200).fit(X, columns[::in_row] % 2)
""",
    "a memory map of 2 GB, with 512 MB allowed to the process, 1024-16-2": """
with tempfile.NamedTemporaryFile() as file:
    X = np.memmap(file.name, np.float32, "w+", shape=(2**19, 1024))
    for start in range(0, len(X), 2**14):
        X[start : start + 2**14] = rng.uniform(size=1024)
    size = X.nbytes
    used = int(open("/proc/self/status").read().split("VmData:")[1].split()[0]) * 1024
    resource.setrlimit(resource.RLIMIT_DATA, (used + 2**29, resource.RLIM_INFINITY))
    network.set_params(hidden_layer_sizes=16, batch_size=512).fit(X, np.arange(len(X)) % 2)
""",
}


def main() -> None:
    rows = []
    for name, code in CASES.items():
        outputs = [
            subprocess.run(
                [sys.executable, "-c", BEGIN + code + END], check=True, capture_output=True, text=True
            ).stdout
            for _ in range(N_PROCESSES)
        ]
        peaks, sizes = zip(*(map(float, output.split()) for output in outputs), strict=True)
        mapped = "map of" in name  # of its pages the system keeps what it has room for
        rows.append([name, f"{sizes[0]:.0f} MiB", "within the limit" if mapped else f"{spread(peaks, 0)} MiB"])
        print(rows[-1], flush=True)
    text = table(["one epoch", "size of X", "peak above import, X included"], rows)
    publish("memory", f"{text}\n\nMedians (smallest to largest) of n = {N_PROCESSES} processes; {machine()}.")


if __name__ == "__main__":
    main()
