"""Searches and cross-validation against scikit-learn's own over the same estimators: all but the times is equal."""

import functools
import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
import sklearn
from scipy.sparse import csr_matrix
from scipy.stats import loguniform
from sklearn import model_selection
from sklearn.base import clone
from sklearn.callback import ProgressBar, ScoringMonitor
from sklearn.datasets import load_diabetes, load_iris, make_multilabel_classification
from sklearn.exceptions import ConvergenceWarning, FitFailedWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, LeaveOneOut, ShuffleSplit, StratifiedKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from sklearn.utils.validation import check_is_fitted

import sknn.model_selection
from sknn import LeNetClassifier, MLPTorchClassifier, MLPTorchRegressor
from sknn.model_selection import GridSearchCV, RandomizedSearchCV

IRIS = load_iris(return_X_y=True)
X, Y = IRIS[0][::2], IRIS[1][::2]  # 75 rows: folds of a StratifiedKFold with 4 parts differ in size
DIABETES = tuple(part[:80] for part in load_diabetes(return_X_y=True, scaled=True))
LABELS = make_multilabel_classification(60, 6, n_classes=3, random_state=0)
WEIGHT = np.random.default_rng(0).uniform(0, 2, len(X)).round(1)

classifier = functools.partial(MLPTorchClassifier, hidden_layer_sizes=(7,), batch_size=16, max_iter=8, random_state=0)
regressor = functools.partial(MLPTorchRegressor, hidden_layer_sizes=(7,), batch_size=16, max_iter=8, random_state=0)
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def assert_same_search(search, X, y, capsys, together=None, **fit_params):
    """Run a search of ours and scikit-learn's, and compare all that they leave."""
    n_candidates_and_folds = together
    theirs_class = getattr(model_selection, type(search).__name__)
    parameters = {name: value for name, value in search.get_params(deep=False).items() if name != "batch_memory"}
    theirs = theirs_class(**clone(theirs_class(**parameters)).get_params(deep=False)).fit(X, y, **fit_params)
    capsys.readouterr()
    search.set_params(verbose=1).fit(X, y, **fit_params)
    printed = capsys.readouterr().out
    assert search.cv_results_.keys() == theirs.cv_results_.keys()
    for name, expected in theirs.cv_results_.items():
        if name == "params":
            assert search.cv_results_[name] == expected
        elif not name.endswith("_time"):
            np.testing.assert_array_equal(search.cv_results_[name], expected, name)
    assert search.n_splits_ == theirs.n_splits_
    if theirs.refit:
        assert search.best_params_ == theirs.best_params_
        assert search.best_score_ == theirs.best_score_
        assert type(search.best_estimator_) is type(theirs.best_estimator_)
        np.testing.assert_array_equal(search.predict(X), theirs.predict(X))
    if n_candidates_and_folds is not None:
        n_fits = len(search.cv_results_["params"]) * search.n_splits_
        assert f"Trained {n_candidates_and_folds} of {n_fits} fits together" in printed
    return search


GRIDS = {
    "rates and penalties": (classifier(), {"learning_rate_init": [0.001, 0.01], "alpha": [0.0, 0.1, 1.0]}),
    "momentum": (classifier(solver="sgd"), {"momentum": [0.0, 0.5], "nesterovs_momentum": [True, False]}),
    "betas": (classifier(), {"beta_1": [0.8, 0.9], "beta_2": [0.9, 0.999], "epsilon": [1e-8, 0.1]}),
    "nadam": (classifier(solver="nadam"), {"beta_1": [0.8, 0.9], "learning_rate_init": [0.001, 0.01]}),
    "adamw": (classifier(solver="adamw"), {"alpha": [0.0, 0.1], "learning_rate_init": [0.001, 0.01]}),
    "class weights": (classifier(), {"class_weight": [None, "balanced", {0: 1, 1: 2, 2: 0.5}]}),
    "smoothing": (classifier(), {"label_smoothing": [0.0, 0.1, 0.3], "alpha": [0.0, 0.1]}),
    "dropout": (classifier(max_iter=9), {"dropout": [0.0, 0.2, 0.5], "alpha": [0.0, 0.1]}),
    "losses": (classifier(), {"loss": ["log_loss", "focal"], "focal_gamma": [1.0, 2.0]}),
    "seeds": (classifier(), {"random_state": [0, 1, 2]}),
    "schedules": (
        classifier(solver="sgd"), {"learning_rate": ["constant", "invscaling", "adaptive", "cosine", "onecycle"]},
    ),
    "shapes": (classifier(), {"hidden_layer_sizes": [(5,), (5, 4), ()], "activation": ["relu", "tanh"]}),
    "batches": (classifier(), {"batch_size": [10, 30], "max_iter": [2, 5]}),
    "early stopping": (
        classifier(early_stopping=True, max_iter=60, n_iter_no_change=3),
        {"learning_rate_init": [0.003, 0.03, 0.3], "validation_fraction": [0.1, 0.2]},
    ),
    "stops": (
        classifier(max_iter=80, n_iter_no_change=2),
        {"learning_rate_init": [0.001, 0.05, 0.3], "tol": [1e-3, 1e-1], "n_iter_no_change": [1, 4]},
    ),
    "solvers": (classifier(), {"solver": ["adam", "sgd"], "alpha": [0.1, 1.0]}),
    "clipping": (classifier(), {"max_grad_norm": [0.1, 1.0], "learning_rate_init": [0.001, 0.1]}),
}  # fmt: skip


@pytest.mark.parametrize("case", GRIDS)
def test_a_search_is_scikit_learns(case, capsys):
    estimator, grid = GRIDS[case]
    search = GridSearchCV(estimator, grid, cv=StratifiedKFold(4))
    n_fits = 4 * len(model_selection.ParameterGrid(grid))
    assert_same_search(search, X, Y, capsys, together=n_fits)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n_jobs", [1, 2])
def test_numbers_of_jobs_and_precisions_change_nothing(n_jobs, dtype, capsys):
    search = GridSearchCV(classifier(), {"alpha": [0.01, 0.1], "learning_rate_init": [0.01, 0.1]}, n_jobs=n_jobs)
    assert_same_search(search, X.astype(dtype), Y, capsys, together=20)


def test_it_tells_which_fits_trained_together(capsys):
    GridSearchCV(classifier(), {"batch_norm": [False, True, False, True]}, cv=2, verbose=1).fit(X, Y)
    assert "Trained 4 of 8 fits together, each alone: candidates 1, 3.\n" in capsys.readouterr().out
    # Large batches gain nothing from company.
    few, many = np.arange(40), np.arange(len(X)).repeat(40)
    splits = [(few, few), (many, few)]
    network = classifier(hidden_layer_sizes=(300, 300), batch_size=6000, max_iter=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sknn.model_selection.cross_validate(network, X, Y, cv=splits, verbose=1)
    assert "Trained 1 of 2 fits together, each alone: candidates 0 in folds [1].\n" in capsys.readouterr().out


def test_little_memory_changes_nothing(capsys):
    search = GridSearchCV(classifier(), {"alpha": [0.01, 0.1]}, batch_memory=1)
    assert_same_search(search, X, Y, capsys, together=10)


@pytest.mark.parametrize(
    ("data", "grid"),
    [
        (DIABETES, {"loss": ["squared_error", "huber", "poisson"], "alpha": [0.1, 1.0]}),
        ((DIABETES[0], np.stack([DIABETES[1], DIABETES[1] ** 0.5], axis=1)), {"learning_rate_init": [0.01, 0.1]}),
    ],
    ids=["losses", "two targets"],
)
def test_a_search_of_regressors_is_scikit_learns(data, grid, capsys):
    n_fits = 3 * len(model_selection.ParameterGrid(grid))
    assert_same_search(GridSearchCV(regressor(), grid, cv=3), *data, capsys, together=n_fits)


def test_a_search_over_many_labels_is_scikit_learns(capsys):
    assert_same_search(GridSearchCV(classifier(), {"alpha": [0.1, 1.0]}, cv=3), *LABELS, capsys, together=6)


@pytest.mark.parametrize(
    ("cv", "n_folds"),
    [(GroupKFold(3), 3), (ShuffleSplit(3, random_state=0), 3), (LeaveOneOut(), len(X)), (3, 3)],
    ids=["groups", "shuffled", "one out", "number"],
)
def test_splits_are_those_of_the_splitter(cv, n_folds, capsys):
    groups = {"groups": np.arange(len(X)) % 7} if isinstance(cv, GroupKFold) else {}
    search = GridSearchCV(classifier(max_iter=2), {"alpha": [0.1, 1.0]}, cv=cv)
    assert_same_search(search, X, Y, capsys, together=2 * n_folds, **groups)


def test_splits_of_a_generator_are_drawn_once(capsys):
    for_ours, for_theirs = (ShuffleSplit(2, random_state=np.random.RandomState(5)) for _ in range(2))
    search = GridSearchCV(classifier(max_iter=2), {"alpha": [0.1, 1.0]}, cv=for_ours).fit(X, Y)
    theirs = model_selection.GridSearchCV(search.estimator, search.param_grid, cv=for_theirs).fit(X, Y)
    np.testing.assert_array_equal(search.cv_results_["mean_test_score"], theirs.cv_results_["mean_test_score"])


def test_weights_of_rows_are_split_with_them(capsys):
    search = GridSearchCV(classifier(), {"alpha": [0.1, 1.0], "class_weight": [None, "balanced"]}, cv=3)
    # Rows of no weight are absent, so that folds differ in length.
    assert_same_search(search, X, Y, capsys, together=12, sample_weight=WEIGHT)


def test_routed_weights_are_left_to_scikit_learn(capsys):
    with sklearn.config_context(enable_metadata_routing=True):
        network = classifier().set_fit_request(sample_weight=True).set_score_request(sample_weight=False)
        search = GridSearchCV(network, {"alpha": [0.1, 1.0]}, cv=3)
        assert_same_search(search, X, Y, capsys, together=6)
        assert_same_search(search, X, Y, capsys, sample_weight=WEIGHT)
        search.set_params(verbose=1).fit(X, Y, sample_weight=WEIGHT)
    assert "Trained no fits together" in capsys.readouterr().out


class Counted(StandardScaler):
    fits = []

    def fit(self, X, y=None, sample_weight=None):
        self.fits.append(self.with_std)
        return super().fit(X, y, sample_weight)


def test_steps_of_a_pipeline_are_fitted_once_for_each_fold_and_setting(capsys):
    Counted.fits.clear()
    pipeline = make_pipeline(MinMaxScaler(), Counted(), classifier())
    grid = {"counted__with_std": [True, False], "mlptorchclassifier__alpha": [0.1, 1.0]}
    search = GridSearchCV(pipeline, grid, cv=3, refit=False).fit(X, Y)
    assert sorted(Counted.fits) == [False] * 3 + [True] * 3
    assert_same_search(GridSearchCV(pipeline, grid, cv=3), X, Y, capsys, together=12)
    assert search.cv_results_["params"][3] == {"counted__with_std": False, "mlptorchclassifier__alpha": 1.0}


def test_steps_may_be_passed_over(capsys):
    pipeline = make_pipeline(StandardScaler(), classifier())
    grid = {"standardscaler": ["passthrough", None], "mlptorchclassifier__alpha": [0.1, 1.0]}
    assert_same_search(GridSearchCV(pipeline, grid, cv=2), X, Y, capsys, together=8)


def test_steps_that_cannot_be_pickled_change_nothing(capsys):
    class Local(StandardScaler):
        pass

    search = GridSearchCV(make_pipeline(Local(), classifier()), {"mlptorchclassifier__alpha": [0.1, 1.0]}, cv=2)
    assert_same_search(search, X, Y, capsys, together=4)


@pytest.mark.parametrize("kind", [pd.DataFrame, csr_matrix, np.asfortranarray])
def test_every_kind_of_X_is_split_and_trained_on(kind, capsys):
    search = GridSearchCV(classifier(), {"alpha": [0.1, 1.0], "learning_rate_init": [0.01, 0.1]}, cv=3)
    assert_same_search(search, kind(X), Y, capsys, together=12)
    assert getattr(search, "feature_names_in_", None) is None or kind is pd.DataFrame


def test_several_metrics_and_training_scores(capsys):
    search = GridSearchCV(
        classifier(), {"alpha": [0.1, 1.0]}, scoring=["accuracy", "neg_log_loss"], refit="neg_log_loss",
        return_train_score=True,
    )  # fmt: skip
    assert_same_search(search, X, Y, capsys, together=10)


def test_a_drawn_search_is_scikit_learns(capsys):
    distributions = {"learning_rate_init": loguniform(1e-3, 1e-1), "alpha": loguniform(1e-4, 1.0)}
    search = RandomizedSearchCV(classifier(), distributions, n_iter=5, random_state=np.random.RandomState(3), cv=3)
    assert_same_search(search, X, Y, capsys, together=15)


@pytest.mark.parametrize("bad", [{"alpha": -1.0}, {"hidden_layer_sizes": (0,)}, {"solver": ["sgd"]}], ids=str)
def test_a_bad_candidate_harms_no_other(bad, capsys):
    (name, value), *_ = bad.items()
    good = classifier().get_params()[name]
    search = GridSearchCV(classifier(), {name: [good, value]}, cv=3, error_score=-1.0)
    with pytest.warns(FitFailedWarning, match="3 fits failed out of a total of 6"):
        assert_same_search(search, X, Y, capsys, together=3)
    assert search.cv_results_["mean_test_score"][1] == -1.0
    with pytest.raises(ValueError, match=name):
        search.set_params(error_score="raise").fit(X, Y)


def test_a_candidate_that_diverges_harms_no_other(capsys):
    grid = {"learning_rate_init": [1e30, 0.1]}
    search = GridSearchCV(regressor(solver="sgd"), grid, cv=3, error_score=-9.0, refit=False)
    with pytest.warns(FitFailedWarning, match="non-finite parameter weights"):
        assert_same_search(search, *DIABETES, capsys, together=6)
    assert search.cv_results_["mean_test_score"][0] == -9.0


@pytest.mark.parametrize(
    ("estimator", "grid"),
    [
        (classifier(batch_norm=True), {"alpha": [0.1, 1.0]}),
        (classifier(hidden_layer_sizes=(5000, 300), max_iter=1), {"alpha": [0.1, 1.0]}),
    ],
    ids=["batch norm", "large"],
)
def test_fits_that_gain_nothing_from_company_are_done_alone(estimator, grid, capsys):
    assert_same_search(GridSearchCV(estimator, grid, cv=2), X, Y, capsys, together=0)


OTHERS = {
    "another class": LogisticRegression(),
    "a subclass": type("Mine", (MLPTorchClassifier,), {})((7,), max_iter=2, random_state=0),
    "callbacks": classifier(max_iter=2).set_callbacks(ScoringMonitor(scoring="accuracy")),
    "lbfgs": classifier(solver="lbfgs"),
    "another pipeline": make_pipeline(StandardScaler(), LogisticRegression()),
    "images": LeNetClassifier(max_iter=1, random_state=0),
}


@pytest.mark.parametrize("other", OTHERS)
def test_other_estimators_are_left_to_scikit_learn(other, capsys):
    data = (np.random.default_rng(0).normal(size=(20, 64)), np.arange(20) % 2) if other == "images" else (X, Y)
    search = GridSearchCV(OTHERS[other], {}, cv=2, verbose=1).fit(*data)
    assert "Trained no fits together: scikit-learn does them one by one.\n" in capsys.readouterr().out
    theirs = model_selection.GridSearchCV(OTHERS[other], {}, cv=2).fit(*data)
    np.testing.assert_array_equal(search.cv_results_["mean_test_score"], theirs.cv_results_["mean_test_score"])


def looks_inside(estimator, X, y):
    """A scorer that reads what it likes: fitted attributes, steps, the class; and that fits a copy."""
    check_is_fitted(estimator)
    network = estimator[-1] if isinstance(estimator, Pipeline) else estimator
    assert isinstance(network, MLPTorchClassifier)
    return vars(network)["loss_curve_"][-1] + clone(estimator).fit(X, y).score(X, y)


@pytest.mark.parametrize("estimator", [classifier(), make_pipeline(StandardScaler(), classifier())], ids=type)
def test_scorers_get_the_fitted_estimator_itself(estimator, capsys):
    name = "alpha" if isinstance(estimator, MLPTorchClassifier) else "mlptorchclassifier__alpha"
    search = GridSearchCV(estimator, {name: [0.01, 1.0]}, cv=2, scoring=looks_inside)
    assert_same_search(search, X, Y, capsys, together=4)


def test_a_fitted_search_keeps_no_network_but_the_best():
    sizes = []
    for module in (sknn.model_selection, model_selection):
        search = module.GridSearchCV(classifier(hidden_layer_sizes=(100,)), {"alpha": [0.01, 0.1, 1.0]}).fit(X, Y)
        assert search.score(X, Y) == search.best_estimator_.score(X, Y)
        assert search.scorer_._estimator is search.estimator
        sizes.append(len(pickle.dumps(search)))
    assert sizes[0] < 1.2 * sizes[1]


WRONG = {
    "scoring": ("cross_val_score", {"scoring": "acuracy"}),
    "some scoring": ("cross_validate", {"scoring": ["acuracy"]}),
    "error_score": ("cross_validate", {"error_score": "rise"}),
    "method": ("cross_val_predict", {"method": "foo"}),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_arguments_of_functions_are_refused_before_any_fit(case, monkeypatch):
    name, options = WRONG[case]
    refused = []
    for module in (model_selection, sknn.model_selection):
        with pytest.raises(ValueError) as error:
            getattr(module, name)(classifier(), X, Y, **options)
        refused.append(str(error.value))
        monkeypatch.setattr(sknn._rehearsal, "fit_all", None)
    assert refused[0] == refused[1]


def test_wrong_refit_is_refused_before_any_fit(monkeypatch):
    monkeypatch.setattr(sknn._rehearsal, "fit_all", None)
    search = GridSearchCV(classifier(), {"alpha": [0.1, 1.0]}, scoring=["accuracy", "neg_log_loss"])
    with pytest.raises(ValueError, match="For multi-metric scoring, the parameter refit must be set"):
        search.fit(X, Y)


def test_a_search_of_its_own_kind_is_left_to_scikit_learn():
    class Twice(GridSearchCV):
        def _run_search(self, evaluate_candidates, **options):
            found = evaluate_candidates([{"alpha": 0.1}])
            evaluate_candidates([{"alpha": 1.0 + found["mean_test_score"][0]}])

    assert len(Twice(classifier(), {"alpha": [0.1]}, cv=2).fit(X, Y).cv_results_["params"]) == 2


def test_unknown_parameters_of_fit_fail_as_alone():
    for module in (sknn.model_selection, model_selection):
        with pytest.raises(ValueError, match="All the 3 fits failed") as error:
            module.cross_val_score(classifier(), X, Y, params={"sampleweight": WEIGHT}, cv=3)
        assert "unexpected keyword argument 'sampleweight'" in str(error.value)


def test_what_is_no_estimator_is_refused_by_scikit_learn():
    for nothing in (Pipeline([]), None):
        refused = []
        for search in (GridSearchCV, model_selection.GridSearchCV):
            with pytest.raises((TypeError, ValueError)) as error:
                search(nothing, {"alpha": [1.0]}).fit(X, Y)
            refused.append((error.type, str(error.value)))
        assert refused[0] == refused[1]


def test_warnings_of_fits_are_given_as_they_are_alone():
    def caught(search):
        with warnings.catch_warnings(record=True) as given:
            warnings.simplefilter("always")
            search.fit(X, Y)
        return sorted((warning.category.__name__, str(warning.message)) for warning in given)

    grid = {"batch_size": [16, 70]}
    ours = caught(GridSearchCV(classifier(), grid, cv=3))
    assert ours == caught(model_selection.GridSearchCV(classifier(), grid, cv=3))
    assert sum(category == ConvergenceWarning.__name__ for category, _ in ours) == 7
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        with pytest.raises(ConvergenceWarning):
            GridSearchCV(classifier(), grid, cv=3, error_score="raise").fit(X, Y)


def test_a_search_stays_as_it_was_made_and_can_be_cloned_and_pickled(capsys):
    search = GridSearchCV(make_pipeline(StandardScaler(), classifier()), {"mlptorchclassifier__alpha": [0.1, 1.0]})
    before = {name: repr(value) for name, value in search.get_params().items()}
    search.fit(X, Y)
    assert {name: repr(value) for name, value in search.get_params().items()} == before
    assert not any(name.startswith("_") and name not in ("_sklearn_output_config",) for name in vars(search))
    again = pickle.loads(pickle.dumps(search))
    np.testing.assert_array_equal(again.predict_proba(X), search.predict_proba(X))
    np.testing.assert_array_equal(clone(search).fit(X, Y).predict_proba(X), search.predict_proba(X))
    assert "MLPTorchClassifier" in search._repr_html_()
    assert search.cv_results_["mean_fit_time"].min() > 0


def test_a_search_can_be_fitted_again_without_a_refit():
    search = GridSearchCV(classifier(), {"alpha": [0.1, 1.0]}, cv=2).fit(X, Y)
    before = search.best_estimator_
    search.set_params(refit=False, param_grid={"alpha": [0.2]}).fit(X, Y)
    assert search.best_params_ == {"alpha": 0.2}
    assert search.best_estimator_ is before  # as scikit-learn's search leaves it


def test_callbacks_of_the_search_are_called(capsys):
    search = GridSearchCV(classifier(), {"alpha": [0.1, 1.0]}, cv=2).set_callbacks(ProgressBar()).fit(X, Y)
    assert "GridSearchCV" in capsys.readouterr().out
    bare = model_selection.GridSearchCV(classifier(), {"alpha": [0.1, 1.0]}, cv=2).fit(X, Y)
    np.testing.assert_array_equal(search.predict_proba(X), bare.predict_proba(X))


def test_cross_validate_is_scikit_learns():
    options = {"cv": 3, "scoring": ["accuracy", "neg_log_loss"], "return_train_score": True, "return_indices": True}
    ours, theirs = (
        module.cross_validate(classifier(), X, Y, return_estimator=True, params={"sample_weight": WEIGHT}, **options)
        for module in (sknn.model_selection, model_selection)
    )
    assert ours.keys() == theirs.keys()
    for name, expected in theirs.items():
        if name == "estimator":
            for one, other in zip(ours[name], expected, strict=True):
                assert type(one) is MLPTorchClassifier
                np.testing.assert_array_equal(one.predict_proba(X), other.predict_proba(X))
        elif name == "indices":
            for part in ("train", "test"):
                assert all(map(np.array_equal, ours[name][part], expected[part]))
        elif not name.endswith("_time"):
            np.testing.assert_array_equal(ours[name], expected)
    assert (ours["fit_time"] > 0).all()


@pytest.mark.parametrize("estimator", [classifier(), LogisticRegression()], ids=["ours", "another"])
def test_cross_val_score_is_scikit_learns(estimator):
    ours, theirs = (
        module.cross_val_score(estimator, X, Y, cv=4, scoring="neg_log_loss")
        for module in (sknn.model_selection, model_selection)
    )
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("method", ["predict", "predict_proba", "predict_log_proba", "decision_function"])
@pytest.mark.parametrize("labels", [Y, np.array(["a", "b", "c"])[Y], (Y > 0).astype(int)], ids=["int", "str", "binary"])
def test_cross_val_predict_is_scikit_learns(labels, method):
    ours, theirs = (
        module.cross_val_predict(classifier(), X, labels, cv=3, method=method)
        for module in (sknn.model_selection, model_selection)
    )
    np.testing.assert_array_equal(ours, theirs)
