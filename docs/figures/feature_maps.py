from sklearn.datasets import load_digits

from sknn import LeNetClassifier
from sknn.inspection import FeatureMapDisplay

digits = load_digits()
lenet = LeNetClassifier(max_iter=10, dtype="float32", random_state=0)
lenet.fit(digits.images, digits.target)
FeatureMapDisplay.from_estimator(lenet, digits.images[3:5])
