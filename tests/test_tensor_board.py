"""The event files of TensorBoard, read back by tensorboard."""

import importlib.util
import re
import sys
import threading

import numpy as np
import pytest
from sklearn.callback import ScoringMonitor
from sklearn.datasets import load_diabetes, load_iris
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sknn import MLPTorchClassifier, MLPTorchRegressor
from sknn.callbacks import TensorBoard

X, Y = load_iris(return_X_y=True)
NETWORK = MLPTorchClassifier((5,), learning_rate="cosine", max_iter=4, random_state=0)
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

needs_tensorboard = pytest.mark.skipif(importlib.util.find_spec("tensorboard") is None, reason="needs tensorboard")


def read(folder):
    """Return {tag: {step: value}} of the one event file in a folder."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    (file,) = folder.glob("events*")
    events = EventAccumulator(str(file)).Reload()
    return {tag: {event.step: event.value for event in events.Scalars(tag)} for tag in events.Tags()["scalars"]}


@needs_tensorboard
def test_events_are_what_the_fit_and_scikit_learn_record(tmp_path):
    monitor = ScoringMonitor(scoring="accuracy")
    n_threads = threading.active_count()
    NETWORK.set_callbacks(TensorBoard(tmp_path), monitor).fit(X[::2], Y[::2], X_val=X[1::2], y_val=Y[1::2])
    assert threading.active_count() == n_threads  # the one that writes has ended
    (run,) = tmp_path.iterdir()
    events = read(run)
    expected = {
        "loss/training": NETWORK.loss_curve_,
        "accuracy/training": [task["accuracy"] for task in monitor.get_logs().data if task["task_name"] == "epoch"],
        "accuracy/validation": NETWORK.validation_scores_,
        "learning_rate": 0.001 * (1 + np.cos(np.pi * np.arange(4) / 4)) / 2,  # one batch an epoch
    }
    assert events.keys() == {*expected, "seconds"}
    for tag, values in expected.items():
        assert list(events[tag]) == [1, 2, 3, 4]
        np.testing.assert_allclose(list(events[tag].values()), values, rtol=1e-6)
    assert all(0 < seconds < 10 for seconds in events["seconds"].values())


@needs_tensorboard
def test_events_leave_out_what_there_is_not(tmp_path):
    X, y = load_diabetes(return_X_y=True)
    network = MLPTorchRegressor(solver="lbfgs", max_iter=3, random_state=0)
    network.set_callbacks(TensorBoard(str(tmp_path), training_score=False)).fit(X, y)
    (run,) = tmp_path.iterdir()
    events = read(run)
    assert events.keys() == {"loss/training", "seconds"}
    np.testing.assert_allclose(list(events["loss/training"].values()), network.loss_curve_, rtol=1e-6)


@needs_tensorboard
def test_each_fit_has_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    NETWORK.set_callbacks(TensorBoard())
    model = make_pipeline(StandardScaler(), NETWORK)
    for _ in range(2):
        NETWORK.fit(X, Y)
    GridSearchCV(model, {"mlptorchclassifier__alpha": [0.1, 1.0]}, cv=2).fit(X, Y)
    runs = sorted((tmp_path / "runs").iterdir(), key=lambda run: "Grid" in run.name)
    assert [re.fullmatch(r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d_(\w+)_[0-9a-f]{6}", run.name)[1] for run in runs] == [
        "MLPTorchClassifier",
        "MLPTorchClassifier",
        "GridSearchCV",
    ]
    below = {str(file.parent.relative_to(runs[2])) for file in runs[2].rglob("events*")}
    searched = {f"search-0/candidate-split-evaluation-{i}/fit-final-estimator-1" for i in range(4)}
    assert below == {*searched, "refit-with-best-params-1/fit-final-estimator-1"}
    for folder in (*runs[:2], *(runs[2] / name for name in below)):
        assert len(read(folder)["loss/training"]) == 4


def test_without_tensorboard_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ImportError, match=re.escape('pip install "sknn-torch[tensorboard]"')):
        TensorBoard()
