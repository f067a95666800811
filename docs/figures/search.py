import matplotlib.pyplot as plt
from sklearn.datasets import load_digits

from sknn import MLPTorchClassifier
from sknn.model_selection import GridSearchCV

X, y = load_digits(return_X_y=True)
alphas, rates = [1e-4, 1, 10, 100], [0.001, 0.003, 0.01, 0.03, 0.1, 0.3]
grid = {"alpha": alphas, "learning_rate_init": rates}
network = MLPTorchClassifier((30,), learning_rate="onecycle", random_state=0)
search = GridSearchCV(network.set_params(max_iter=25), grid, cv=3)
search.fit(X[:600] / 16, y[:600])

_, ax = plt.subplots(figsize=(6, 3.5))
scores = search.cv_results_["mean_test_score"].reshape(len(alphas), len(rates))
for alpha, of_alpha in zip(alphas, scores, strict=True):
    ax.semilogx(rates, of_alpha, "o-", label=f"alpha={alpha:g}")
ax.set(xlabel="learning_rate_init", ylabel="accuracy, 3 folds")
ax.legend()
