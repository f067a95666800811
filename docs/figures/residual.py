from sklearn.datasets import load_digits
from torch import nn

from sknn import TorchClassifier
from sknn.inspection import LossCurveDisplay


class Deep(nn.Module):
    def __init__(self, n_features_in, n_outputs, depth=4, residual=True):
        super().__init__()
        self.residual = residual
        self.enter, self.leave = nn.Linear(n_features_in, 16), nn.Linear(16, n_outputs)
        blocks = [nn.Sequential(nn.Linear(16, 16), nn.Tanh()) for _ in range(depth)]
        self.blocks = nn.ModuleList(blocks)

    def forward(self, X):
        X = self.enter(X)
        for block in self.blocks:
            X = X + block(X) if self.residual else block(X)
        return self.leave(X)


X, y = load_digits(return_X_y=True)
networks = {}
for depth in (4, 16):
    for residual in (False, True):
        network = TorchClassifier(Deep, {"depth": depth, "residual": residual})
        network.set_params(learning_rate="cosine", max_iter=30, random_state=0)
        network.set_params(dtype="float32")
        name = f"{depth} {'residual' if residual else 'plain'} blocks"
        networks[name] = network.fit(X / 16, y)
LossCurveDisplay.from_estimator(networks).ax_.set(yscale="log")
