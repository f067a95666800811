import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from sknn import LeNetClassifier
from sknn.inspection import LossCurveDisplay

digits = load_digits()
images = np.pad(digits.images.astype(np.float32), ((0, 0), (2, 2), (2, 2)))
X, X_val, y, y_val = train_test_split(
    images, digits.target, train_size=200, random_state=0
)
moved = np.roll(X_val[:500], 1, axis=2)

lenets = {}
for shift in (0, 1):
    lenet = LeNetClassifier(random_shift=shift, max_iter=40, random_state=0)
    lenets[f"random_shift={shift}"] = lenet.fit(X, y, X_val=moved, y_val=y_val[:500])

display = LossCurveDisplay.from_estimator(lenets)
display.score_ax_.set(ylim=(0.5, 1))
