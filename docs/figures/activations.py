from sknn.inspection import ActivationDisplay

ActivationDisplay.from_names()
