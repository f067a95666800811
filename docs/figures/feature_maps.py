import numpy as np
from sklearn.datasets import load_digits

from sknn import LeNetClassifier
from sknn.inspection import FeatureMapDisplay

digits = load_digits()
images = digits.images.astype(np.uint8)
lenet = LeNetClassifier(max_iter=10, random_state=0).fit(images, digits.target)
FeatureMapDisplay.from_estimator(lenet, images[3:5])
