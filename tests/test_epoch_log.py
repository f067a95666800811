"""The lines of EpochLog, and where they arrive."""

import contextlib
import io
import logging
import pickle
import re

import numpy as np
import pytest
from sklearn.callback import ScoringMonitor
from sklearn.datasets import load_diabetes, load_iris
from sklearn.model_selection import GridSearchCV

import sknn.model_selection
from sknn import MLPTorchClassifier, MLPTorchRegressor
from sknn.callbacks import EpochLog

X, Y = load_iris(return_X_y=True)
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
NUMBER = r"(-?[\d.]+(?:e-\d+)?)"


def told(stream, *names):
    """Return what each line tells under those names, an array (n_lines, n_names), where lines tell nothing else."""
    numbers = ", ".join(f"{name} {NUMBER}" for name in names)
    found = [re.fullmatch(f"epoch +(\\d+)/(\\d+): {numbers}, {NUMBER} s", line) for line in stream]
    return np.array([[float(number) for number in line.groups()] for line in found])


def test_a_line_tells_what_the_fit_and_scikit_learn_record():
    stream, monitor = io.StringIO(), ScoringMonitor(scoring="accuracy")
    network = MLPTorchClassifier((5,), learning_rate="cosine", learning_rate_init=0.01, max_iter=12, random_state=0)
    network.set_callbacks(EpochLog(stream), monitor).fit(X[::2], Y[::2], X_val=X[1::2], y_val=Y[1::2])
    names = ("loss", "accuracy", "validation accuracy", "learning rate")
    lines = told(stream.getvalue().splitlines(), *names)
    epochs = np.arange(1, 13)
    accuracy = [task["accuracy"] for task in monitor.get_logs().data if task["task_name"] == "epoch"]
    rates = 0.01 * (1 + np.cos(np.pi * (epochs - 1) / 12)) / 2  # one batch an epoch
    expected = [epochs, np.full(12, 12), network.loss_curve_, accuracy, network.validation_scores_]
    np.testing.assert_allclose(lines[:, :-2], np.column_stack(expected), rtol=0, atol=5.1e-5)
    np.testing.assert_allclose(lines[:, -2], rates, rtol=5e-3)
    assert (lines[:, -1] >= 0).all()


def test_a_line_leaves_out_what_there_is_not():
    stream = io.StringIO()
    X, y = load_diabetes(return_X_y=True)
    network = MLPTorchRegressor(max_iter=2, random_state=0).set_callbacks(EpochLog(stream)).fit(X, y)
    assert len(told(stream.getvalue().splitlines(), "loss", "R2", "learning rate")) == 2
    stream = io.StringIO()
    network.set_params(solver="lbfgs").set_callbacks(EpochLog(stream, training_score=False)).fit(X, y)
    lines = told(stream.getvalue().splitlines(), "loss")
    np.testing.assert_allclose(lines[:, 2], network.loss_curve_, atol=5.1e-5)


NETWORK = MLPTorchClassifier((5,), learning_rate="cosine", max_iter=3, random_state=0)


def test_lines_reach_a_file_at_once(tmp_path):
    lengths = []

    class Reader(EpochLog):
        def on_fit_task_end(self, estimator, context):
            super().on_fit_task_end(estimator, context)
            lengths.append(len((tmp_path / "log").read_text().splitlines()))

    with open(tmp_path / "log", "w") as file:
        NETWORK.set_callbacks(Reader(file)).fit(X, Y)
    assert lengths == [1, 2, 3, 3]


def test_lines_reach_standard_output_as_it_is_then():
    NETWORK.set_callbacks(EpochLog())
    with contextlib.redirect_stdout(io.StringIO()) as stream:
        NETWORK.fit(X, Y)
    assert len(told(stream.getvalue().splitlines(), "loss", "accuracy", "learning rate")) == 3


@pytest.mark.parametrize("copied", [False, True])
@pytest.mark.parametrize("adapted", [False, True])
def test_lines_reach_a_logger(copied, adapted, caplog):
    caplog.set_level(logging.INFO)
    logger = logging.getLogger("fits")
    callback = EpochLog(logging.LoggerAdapter(logger, {}) if adapted else logger)
    callback = pickle.loads(pickle.dumps(callback)) if copied else callback  # which the original does not survive
    NETWORK.set_callbacks(callback).fit(X, Y)
    assert len(told([record.getMessage() for record in caplog.records], "loss", "accuracy", "learning rate")) == 3
    assert {(record.name, record.levelname) for record in caplog.records} == {("fits", "INFO")}


def test_lines_of_copies_reach_the_stream_while_there_is_one(capsys):
    stream = io.StringIO()
    callback = EpochLog(stream)
    copies = [pickle.loads(pickle.dumps(callback)) for _ in range(2)]
    NETWORK.set_callbacks(copies[0]).fit(X, Y)
    assert len(told(stream.getvalue().splitlines(), "loss", "accuracy", "learning rate")) == 3
    assert capsys.readouterr().out == ""
    del callback
    NETWORK.set_callbacks(copies[1]).fit(X, Y)
    assert len(told(capsys.readouterr().out.splitlines(), "loss", "accuracy", "learning rate")) == 3
    assert len(stream.getvalue().splitlines()) == 3


@pytest.mark.parametrize("search", [GridSearchCV, sknn.model_selection.GridSearchCV])
def test_lines_of_a_search_name_their_fit(search):
    stream = io.StringIO()
    NETWORK.set_callbacks(EpochLog(stream))
    search(NETWORK, {"alpha": [0.1, 1.0]}, cv=2).fit(X, Y)
    lines = stream.getvalue().splitlines()
    for fit in range(4):
        prefix = f"candidate-split-evaluation {fit}, "
        of_fit = [line.removeprefix(prefix) for line in lines if line.startswith(prefix)]
        assert told(of_fit, "loss", "accuracy", "learning rate")[:, 0].tolist() == [1, 2, 3]
    assert len(told(lines[-3:], "loss", "accuracy", "learning rate")) == 3  # of the best candidate
    assert len(lines) == 4 * 3 + 3


def test_what_cannot_be_written_to_is_refused():
    with pytest.raises(TypeError, match=r"text stream, a logging.Logger or None, got str"):
        EpochLog("log.txt")
