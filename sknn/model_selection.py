"""scikit-learn's searches and cross-validation, which train the networks of all candidates and folds together."""

from sknn._cross_validation import cross_val_predict, cross_val_score, cross_validate
from sknn._searches import GridSearchCV, RandomizedSearchCV

__all__ = ["GridSearchCV", "RandomizedSearchCV", "cross_val_predict", "cross_val_score", "cross_validate"]
