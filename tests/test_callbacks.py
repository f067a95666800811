"""scikit-learn's callbacks around and inside fits."""

import _thread
import signal
import threading

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.callback import ProgressBar, ScoringMonitor
from sklearn.datasets import load_diabetes, load_digits, load_iris
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sknn import MLPTorchClassifier, MLPTorchRegressor

X, Y = load_iris(return_X_y=True)
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


class Recorder:
    """Write down every call of the hooks, and stop or raise after so many epochs."""

    def __init__(self, stop_after=None, raise_after=None):
        self.stop_after, self.raise_after = stop_after, raise_after
        self.calls, self.fitted, self.data = [], [], []

    def setup(self, estimator, context):
        self.calls.append(("setup", context.task_name))

    def teardown(self, estimator, context):
        self.calls.append(("teardown", context.task_name))

    def on_fit_task_begin(self, estimator, context):
        self.calls.append(("begin", context.task_name, context.task_id))

    def on_fit_task_end(self, estimator, context, *, X, y, metadata, fitted_estimator):
        self.calls.append(("end", context.task_name, context.task_id))
        self.data.append((X, y, metadata))
        if context.task_name == "epoch" and fitted_estimator is not None:
            self.fitted.append(fitted_estimator)
            if len(self.fitted) == self.raise_after:
                raise RuntimeError("the callback failed")
            return len(self.fitted) == self.stop_after
        return False


def test_the_epoch_is_the_leaf_task():
    recorder = Recorder()
    MLPTorchClassifier(max_iter=3, random_state=0).set_callbacks(recorder).fit(X, Y)
    epochs = [(when, "epoch", i) for i in range(3) for when in ("begin", "end")]
    assert recorder.calls == [("setup", "fit"), ("begin", "fit", 0), *epochs, ("end", "fit", 0), ("teardown", "fit")]


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_fitted_estimator_is_the_model_after_each_epoch(solver):
    recorder = Recorder()
    network = MLPTorchClassifier((5,), solver=solver, max_iter=4, random_state=0).set_callbacks(recorder).fit(X, Y)
    assert len(recorder.fitted) == 4
    for n_epochs, fitted in enumerate(recorder.fitted, start=1):
        alone = MLPTorchClassifier((5,), solver=solver, max_iter=n_epochs, random_state=0).fit(X, Y)
        np.testing.assert_array_equal(fitted.predict_proba(X), alone.predict_proba(X))
        assert fitted.n_iter_ == n_epochs
        assert fitted.loss_curve_ == network.loss_curve_[:n_epochs]


@pytest.mark.parametrize(("solver", "n_iter"), [("adam", 2), ("lbfgs", 2)])
def test_true_stops_the_fit_and_leaves_a_usable_estimator(solver, n_iter, recwarn):
    network = MLPTorchClassifier((5,), solver=solver, max_iter=50, random_state=0)
    network.set_callbacks(Recorder(stop_after=n_iter)).fit(X, Y)
    assert network.n_iter_ == n_iter
    assert not [warning for warning in recwarn if issubclass(warning.category, ConvergenceWarning)]
    reference = MLPTorchClassifier((5,), solver=solver, max_iter=n_iter, random_state=0).fit(X, Y)
    np.testing.assert_array_equal(network.predict_proba(X), reference.predict_proba(X))


def test_an_exception_tears_down_and_leaves_the_estimator_as_it_was():
    network = MLPTorchClassifier((5,), max_iter=5, random_state=0).fit(X, Y)
    before = network.predict_proba(X)
    recorder = Recorder(raise_after=2)
    with pytest.raises(RuntimeError, match="the callback failed"):
        network.set_callbacks(recorder).set_params(random_state=1).fit(X, Y)
    assert recorder.calls[-1] == ("teardown", "fit")
    np.testing.assert_array_equal(network.predict_proba(X), before)
    assert not [name for name in vars(network) if "callback_fit" in name or "teardown" in name]


def test_callbacks_see_the_data_as_it_was_given():
    recorder = Recorder()
    weight = np.linspace(1, 2, len(X))
    labels = np.array(["a", "b", "c"])[Y]
    MLPTorchClassifier(max_iter=1).set_callbacks(recorder).set_params(random_state=0).fit(X, labels, weight)
    for seen_X, seen_y, metadata in recorder.data:
        assert seen_X is X
        assert seen_y is labels
        assert metadata["sample_weight"] is weight


def test_monitor_scores_each_epoch_with_its_own_weights():
    monitor = ScoringMonitor(scoring="neg_mean_squared_error")
    X, y = load_diabetes(return_X_y=True)
    network = MLPTorchRegressor(max_iter=3, random_state=0).set_callbacks(monitor).fit(X, y, np.arange(1.0, len(X) + 1))
    rows = monitor.get_logs().data_as_pandas
    scores = rows.loc[rows["task_name"] == "epoch", "neg_mean_squared_error"].to_numpy()
    penalty = 0.5 * 1e-4 * sum((coef**2).sum() for coef in network.coefs_)
    assert len(scores) == 3
    assert scores[-1] == rows.loc[rows["task_name"] == "fit", "neg_mean_squared_error"].item()
    assert -scores[-1] < 2 * (network.loss_curve_[0] + penalty)
    assert (np.diff(scores) > 0).all()


@pytest.mark.parametrize("early_stopping", [False, True])
def test_progress_bar_and_monitor_in_a_search_of_pipelines(early_stopping, capsys):
    network = MLPTorchClassifier(max_iter=3, early_stopping=early_stopping, random_state=0)
    search = GridSearchCV(make_pipeline(StandardScaler(), network), {"mlptorchclassifier__alpha": [0.1, 1.0]}, cv=2)
    monitor = ScoringMonitor(scoring="accuracy")
    bare = clone(search).fit(X, Y)
    network.set_callbacks(monitor)
    search.set_callbacks(ProgressBar()).fit(X, Y)
    capsys.readouterr()
    np.testing.assert_array_equal(search.cv_results_["mean_test_score"], bare.cv_results_["mean_test_score"])
    np.testing.assert_array_equal(search.predict_proba(X), bare.predict_proba(X))


def test_interrupt_leaves_a_usable_estimator():
    class Interrupt(Recorder):
        def on_fit_task_end(self, estimator, context, *, fitted_estimator):
            if context.task_name == "epoch" and context.task_id == 2:
                raise KeyboardInterrupt

    network = MLPTorchClassifier((5,), max_iter=50, random_state=0).set_callbacks(Interrupt())
    with pytest.warns(UserWarning, match="Training interrupted by user"):
        network.fit(X, Y)
    reference = MLPTorchClassifier((5,), max_iter=3, random_state=0).fit(X, Y)
    np.testing.assert_array_equal(network.predict_proba(X), reference.predict_proba(X))


@pytest.fixture
def interruptible():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in the background of a shell
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_ctrl_c_leaves_a_usable_estimator(solver):
    digits, labels = load_digits(return_X_y=True)
    network = MLPTorchClassifier(
        (200, 200), solver=solver, max_iter=100_000, tol=0, n_iter_no_change=np.inf, alpha=10.0
    )
    timer = threading.Timer(1.0, _thread.interrupt_main)
    timer.start()
    with pytest.warns(UserWarning, match="Training interrupted by user"):
        network.set_params(random_state=0).fit(digits, labels)
    timer.join()
    assert 0 < network.n_iter_ < 100_000
    assert len(network.loss_curve_) == network.n_iter_
    assert network.score(digits, labels) > 0.8
