"""Wrong calls: each raises what scikit-learn's users expect, says what was wrong, and leaves no trace."""

import pickle
from collections import Counter

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError
from sklearn.neural_network import MLPClassifier, MLPRegressor
from wrong_calls import CALLS, GOOD, RANGES, TARGET, X, Y

from sknn import MLPTorchClassifier, MLPTorchRegressor

REFERENCES = {MLPTorchClassifier: MLPClassifier, MLPTorchRegressor: MLPRegressor}
TARGETS = {MLPTorchClassifier: Y, MLPTorchRegressor: TARGET}
pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),  # scikit-learn's MLP overflows aloud
]


def over(calls):
    return pytest.mark.parametrize("wrong", calls, ids=lambda wrong: f"{wrong.Estimator.__name__[8:]}: {wrong.name}")


def ready(Estimator, wrong, before=None):
    """Return an estimator on which only the wrong call is left to be made."""
    network = Estimator(**GOOD)
    if Estimator in REFERENCES:
        network.set_params(device="cpu")  # so that float64 stays float64 on every machine
    before = wrong.before or before
    if before:
        before(network)
    return network.set_params(**wrong.parameters)


def contents(network):
    """Return every attribute by identity and by value."""
    return {name: (id(value), pickle.dumps(value)) for name, value in vars(network).items()}


@over(CALLS)
def test_wrong_call_says_what_is_wrong(wrong):
    with pytest.raises(wrong.error, match=wrong.message) as caught:
        wrong.call(ready(wrong.Estimator, wrong))
    reference = REFERENCES[wrong.Estimator]
    if wrong.alike and wrong.parameters.keys() <= reference().get_params().keys():
        with pytest.raises(Exception) as expected:
            wrong.call(ready(reference, wrong))
        assert isinstance(caught.value, expected.type)


@over([wrong for wrong in CALLS if not wrong.before])
def test_wrong_call_leaves_an_unfitted_estimator_unfitted(wrong):
    network = ready(wrong.Estimator, wrong)
    before = contents(network)
    with pytest.raises(wrong.error):
        wrong.call(network)
    assert contents(network) == before
    assert vars(network).keys() == network.get_params().keys()
    with pytest.raises(NotFittedError):
        network.predict(X)


@over([wrong for wrong in CALLS if not wrong.fresh])
@pytest.mark.filterwarnings("ignore:X does not have valid feature names:UserWarning")
def test_wrong_call_leaves_a_fitted_estimator_as_it_was(wrong):
    network = ready(wrong.Estimator, wrong, lambda network: network.fit(X, TARGETS[wrong.Estimator]))
    method = "predict_proba" if wrong.Estimator is MLPTorchClassifier else "predict"
    before, predicted = contents(network), getattr(network, method)(X)
    with pytest.raises(wrong.error):
        wrong.call(network)
    assert contents(network) == before
    np.testing.assert_array_equal(getattr(network, method)(X), predicted)


def test_calls_have_names_of_their_own():
    counts = Counter((wrong.Estimator, wrong.name) for wrong in CALLS)
    assert max(counts.values()) == 1
    assert len(counts) > 200


@pytest.mark.parametrize("Estimator", REFERENCES)
def test_every_parameter_has_a_range(Estimator):
    assert Estimator().get_params().keys() <= RANGES.keys()


# Parameter -> what makes it count.
READ_WITH = {
    "power_t": {"solver": "sgd", "learning_rate": "invscaling"},
    "momentum": {"solver": "sgd"},
    "nesterovs_momentum": {"solver": "sgd"},
    "max_fun": {"solver": "lbfgs"},
    "focal_gamma": {"loss": "focal"},
    "huber_delta": {"loss": "huber"},
    "quantile": {"loss": "quantile"},
}


@pytest.mark.parametrize(
    ("Estimator", "name", "value"),
    [
        pytest.param(Estimator, name, value, id=f"{Estimator.__name__}-{name}={value}")
        for Estimator in REFERENCES
        for name, (values, _) in RANGES.items()
        if name in Estimator().get_params()
        for value in values
    ],
)
def test_ends_of_ranges_are_right(Estimator, name, value):
    network = Estimator(**{**GOOD, "device": "cpu", **READ_WITH.get(name, {}), name: value})
    network.fit(X, TARGETS[Estimator])
    assert all(np.isfinite(coef).all() for coef in network.coefs_)
    assert np.isfinite(network.loss_)


class Unreadable:
    """Rows that raise as they are read."""

    shape = X.shape

    def __init__(self, error):
        self.error = error

    def __len__(self):
        return len(X)

    def __array__(self, dtype=None, copy=None):
        raise self.error


class Fails:
    """A callback that raises in the second epoch, and remembers nothing."""

    def __init__(self, error):
        self.error = error

    def setup(self, estimator, context):
        pass

    def teardown(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context):
        pass

    def on_fit_task_end(self, estimator, context, *, fitted_estimator):
        if context.task_name == "epoch" and context.task_id == 1:
            raise self.error


@pytest.mark.parametrize("Estimator", REFERENCES)
@pytest.mark.parametrize("fitted", [False, True])
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@pytest.mark.parametrize("error", [OSError("the disk failed"), MemoryError(), KeyboardInterrupt()], ids=repr)
def test_data_that_fail_to_read_change_nothing(Estimator, fitted, method, error):
    network = Estimator(**GOOD)
    y = TARGETS[Estimator]
    first = {"classes": [0, 1, 2]} if method == "partial_fit" and Estimator is MLPTorchClassifier else {}
    if fitted:
        getattr(network, method)(X, y, **first)
    before = contents(network)
    with pytest.raises(type(error)) as caught:
        getattr(network, method)(Unreadable(error), y, **first)
    assert caught.value is error
    assert contents(network) == before


@pytest.mark.parametrize("Estimator", REFERENCES)
@pytest.mark.parametrize("fitted", [False, True])
@pytest.mark.parametrize(
    "parameters",
    [{}, {"warm_start": True}, {"early_stopping": True}, {"solver": "lbfgs"}, {"batch_norm": True, "dropout": 0.5}],
    ids=str,
)
def test_a_callback_that_fails_in_mid_fit_changes_nothing(Estimator, fitted, parameters):
    network = Estimator(**{**GOOD, "max_iter": 4, "n_iter_no_change": np.inf, **parameters})
    if fitted:
        network.fit(X, TARGETS[Estimator])
    network.set_callbacks(Fails(RuntimeError("the callback failed")))
    before = contents(network)
    with pytest.raises(RuntimeError, match="the callback failed"):
        network.fit(X, TARGETS[Estimator])
    assert contents(network) == before
    if not fitted:
        with pytest.raises(NotFittedError):
            network.predict(X)
