"""Callbacks around and inside fits: scikit-learn's, and what all of sknn's share."""

import _thread
import collections
import copy
import importlib.util
import io
import pickle
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import torch
from sklearn.base import clone
from sklearn.callback import ProgressBar, ScoringMonitor
from sklearn.datasets import load_diabetes, load_digits, load_iris
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import accuracy_score
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sknn import MLPTorchClassifier, MLPTorchRegressor
from sknn.callbacks import Checkpoint, EarlyStoppingOnMetric, EpochLog, LivePlot, TensorBoard

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
    assert network.loss_curve_[-1] < network.loss_curve_[0]
    assert np.isfinite(network.predict_proba(digits)).all()


# --- what sknn's callbacks read, beyond the protocol ---


class Reader(Recorder):
    """Write down what a fit tells of each epoch, beside a fitted estimator that knows it too."""

    def __init__(self):
        super().__init__()
        self.rows, self.told = None, []

    def setup(self, estimator, context):
        self.rows = estimator._progress.validation_rows()

    def on_fit_task_end(self, estimator, context, *, fitted_estimator):
        if context.task_name == "epoch" and fitted_estimator is not None:
            progress = estimator._progress
            self.fitted.append(fitted_estimator)
            self.told.append((progress.epoch, list(progress.loss_curve), progress.training_score()))


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@pytest.mark.parametrize("verbose", [False, True])
def test_the_record_is_that_of_the_epoch_that_ended(solver, verbose):
    reader = Reader()
    network = MLPTorchClassifier((5,), solver=solver, max_iter=4, verbose=verbose, random_state=0)
    network.set_callbacks(reader).fit(X, Y, np.arange(150.0), X_val=X, y_val=Y)
    assert len(reader.told) == 4
    for number, (fitted, (epoch, losses, score)) in enumerate(zip(reader.fitted, reader.told, strict=True), start=1):
        assert epoch.number == number
        assert losses == fitted.loss_curve_ == network.loss_curve_[:number]
        assert epoch.score[0] == fitted.validation_scores_[-1]
        assert score == accuracy_score(Y, fitted.predict(X), sample_weight=np.arange(150.0))
        assert (epoch.rate is None) == (solver == "lbfgs")


SPARSE = scipy.sparse.coo_matrix(X)


@pytest.mark.parametrize(
    ("kind", "labels"),
    [
        (X, Y),
        (X.tolist(), list("abc")),
        (pd.DataFrame(X), pd.Series(Y)),
        (SPARSE, Y),
        (torch.from_numpy(X), torch.from_numpy(Y)),
    ],
    ids=["array", "list", "frame", "sparse", "tensor"],
)
@pytest.mark.parametrize("given", [False, True])
def test_validation_rows_are_those_that_the_network_scores(kind, labels, given):
    labels = np.array(labels)[Y].tolist() if isinstance(labels, list) else labels
    weight = np.linspace(0, 2, 150)  # the first row is absent
    network = MLPTorchClassifier((5,), max_iter=2, early_stopping=not given, random_state=0)
    reader = Reader()
    validation = {"X_val": kind, "y_val": labels, "sample_weight_val": weight} if given else {}
    network.set_callbacks(reader).fit(kind, labels, weight, **validation)
    rows, targets, of_rows = reader.rows
    assert type(rows) is type(kind) if kind is not SPARSE or given else scipy.sparse.issparse(rows)
    for fitted, score in zip(reader.fitted, network.validation_scores_, strict=True):
        assert fitted.score(rows, targets, of_rows) == score
    assert len(targets) == (150 if given else 15)
    assert not given or (rows is kind and targets is labels)


def test_without_validation_there_are_no_validation_rows():
    reader = Reader()
    MLPTorchClassifier((5,), max_iter=1, random_state=0).set_callbacks(reader).fit(X, Y)
    assert reader.rows is None


def test_the_record_stays_in_the_fit():
    reader = Reader()
    network = MLPTorchClassifier((5,), max_iter=2, random_state=0).set_callbacks(reader).fit(X, Y)
    failing = MLPTorchClassifier((5,), max_iter=2).set_callbacks(Recorder(raise_after=1)).set_params(random_state=0)
    with pytest.raises(RuntimeError, match="the callback failed"):
        failing.fit(X, Y)
    for estimator in (network, failing, *reader.fitted, pickle.loads(pickle.dumps(reader.fitted[0]))):
        assert "_progress" not in vars(estimator)


# --- what sknn's callbacks share ---


def make(kind, folder):
    if kind is TensorBoard:
        pytest.importorskip("tensorboard")
        return TensorBoard(folder)
    return {
        EpochLog: lambda: EpochLog(io.StringIO()),
        LivePlot: LivePlot,
        EarlyStoppingOnMetric: lambda: EarlyStoppingOnMetric("accuracy", n_iter_no_change=10**6),
        Checkpoint: lambda: Checkpoint(folder),
    }[kind]()


every_callback = pytest.mark.parametrize("kind", [EpochLog, LivePlot, EarlyStoppingOnMetric, Checkpoint, TensorBoard])
every_observer = pytest.mark.parametrize("kind", [EpochLog, LivePlot, TensorBoard])


def assert_equal_fits(one, other):
    assert one.loss_curve_ == other.loss_curve_
    assert one.n_iter_ == other.n_iter_
    for name, value in one.module_.state_dict().items():
        assert torch.equal(value, other.module_.state_dict()[name])


@every_observer
@pytest.mark.parametrize(
    "parameters",
    [{}, {"solver": "lbfgs"}, {"early_stopping": True}, {"dropout": 0.3, "batch_norm": True, "batch_size": 50}],
    ids=str,
)
def test_a_fit_is_the_same_with_a_callback_that_looks_on(kind, parameters, tmp_path):
    seen, unseen = (np.random.RandomState(0) for _ in range(2))
    parameters = {"hidden_layer_sizes": (5,), "max_iter": 5, **parameters}
    network = MLPTorchClassifier(**parameters, random_state=seen).set_callbacks(make(kind, tmp_path)).fit(X, Y)
    assert_equal_fits(network, MLPTorchClassifier(**parameters, random_state=unseen).fit(X, Y))
    assert seen.randint(2**31) == unseen.randint(2**31)


@every_callback
def test_one_callback_serves_fits_in_turn_and_side_by_side(kind, tmp_path):
    callback = make(kind, tmp_path)
    network = MLPTorchClassifier((5,), max_iter=8, early_stopping=True, learning_rate="cosine").set_callbacks(callback)
    networks = [clone(network).set_params(random_state=seed) for seed in (0, 1, 2, 3)]
    expected = [clone(one).set_callbacks().fit(X, Y) for one in networks]
    for one, other in zip(networks[:2], expected, strict=False):
        assert_equal_fits(one.fit(X, Y), other)
    with ThreadPoolExecutor(4) as pool:
        for one, other in zip(pool.map(lambda one: one.fit(X, Y), networks), expected, strict=True):
            assert_equal_fits(one, other)


class Pickling(Recorder):
    """Copy the network as it is in the middle of a fit, callbacks and all."""

    def on_fit_task_end(self, estimator, context, *, fitted_estimator):
        if context.task_name == "epoch":
            self.fitted.append(pickle.loads(pickle.dumps(fitted_estimator)))


@every_callback
def test_a_callback_survives_copies(kind, tmp_path):
    """Neither a stream, nor a plot, nor a writer leaves the process; in the middle of a fit as before and after it."""
    pickling = Pickling()
    network = MLPTorchClassifier((5,), max_iter=3, early_stopping=True, learning_rate="cosine", random_state=0)
    network.set_callbacks(make(kind, tmp_path), pickling)
    before = pickle.loads(pickle.dumps(network))
    expected = clone(network).set_callbacks().fit(X, Y)
    network.fit(X, Y)
    for estimator in (before, pickling.fitted[0], pickle.loads(pickle.dumps(network)), copy.deepcopy(network)):
        assert [type(callback) for callback in estimator._skl_callbacks] == [kind, Pickling]
        assert_equal_fits(estimator.fit(X, Y), expected)


@every_callback
@pytest.mark.parametrize(
    "wrap", [lambda network: make_pipeline(StandardScaler(), network), lambda network: GridSearchCV(network, {})]
)
def test_a_callback_belongs_on_a_network(kind, wrap, tmp_path):
    model = wrap(MLPTorchClassifier((5,), max_iter=1)).set_callbacks(make(kind, tmp_path))
    with pytest.raises(TypeError, match=f"{kind.__name__} follows the epochs .* got {type(model).__name__}"):
        model.fit(X, Y)


def test_all_together_in_a_parallel_search_of_pipelines(capsys, tmp_path):
    network = MLPTorchClassifier(
        (5,), max_iter=12, early_stopping=True, n_iter_no_change=np.inf, learning_rate="cosine", random_state=0
    )
    model = make_pipeline(StandardScaler(), network)
    search = GridSearchCV(model, {"mlptorchclassifier__alpha": [0.1, 1.0]}, cv=2)
    stopping, log, monitor = EarlyStoppingOnMetric("accuracy"), io.StringIO(), ScoringMonitor(scoring="accuracy")
    bare = clone(search).fit(X, Y)
    with_events = [TensorBoard(tmp_path)] if importlib.util.find_spec("tensorboard") else []
    checkpoint = Checkpoint(tmp_path / "checkpoints", every=5)
    network.set_callbacks(EpochLog(log), LivePlot(), stopping, checkpoint, monitor, *with_events)
    search.set_params(n_jobs=2).set_callbacks(ProgressBar()).fit(X, Y)
    assert "100%" in capsys.readouterr().out
    # Accuracy is what the network itself goes by.
    np.testing.assert_array_equal(search.cv_results_["mean_test_score"], bare.cv_results_["mean_test_score"])
    assert_equal_fits(search.best_estimator_[-1], bare.best_estimator_[-1])
    assert stopping.scores_ == bare.best_estimator_[-1].validation_scores_
    of_fits = collections.Counter(line.partition("epoch")[0] for line in log.getvalue().splitlines())
    assert of_fits == dict.fromkeys(["", *(f"candidate-split-evaluation {i}, " for i in range(4))], 12)
    assert sum(row["task_name"] == "epoch" for row in monitor.get_logs().data) == 12 * (2 * 2 + 1)
    assert len(list(tmp_path.rglob("events*"))) == (2 * 2 + 1) * len(with_events)


def test_callbacks_of_another_process_work_in_this_one(tmp_path):
    """Those of a file: what they held in the process that wrote it is gone."""
    log = EpochLog(io.StringIO())
    network = MLPTorchClassifier((5,), max_iter=3, early_stopping=True, learning_rate="cosine", random_state=0)
    network.set_callbacks(log, EarlyStoppingOnMetric("accuracy", n_iter_no_change=2)).fit(X, Y)
    (tmp_path / "network.pkl").write_bytes(pickle.dumps(network))
    code = "import pickle, sys; from sklearn.datasets import load_iris; network = pickle.load(open(sys.argv[1], 'rb'))"
    code += "; network.fit(*load_iris(return_X_y=True))"
    command = [sys.executable, "-W", "error", "-c", code, str(tmp_path / "network.pkl")]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    ours = log.to.getvalue().splitlines()
    assert [line.rpartition(",")[0] for line in printed] == [line.rpartition(",")[0] for line in ours]
    assert len(ours) == 3
