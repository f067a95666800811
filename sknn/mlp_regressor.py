"""The multi-layer perceptron regressor."""

from typing import Any

from sknn._mlp import MLPEstimatorMixin
from sknn._regressor import RegressorEstimatorMixin
from sknn.base import BaseTorchEstimator


class MLPTorchRegressor(RegressorEstimatorMixin, MLPEstimatorMixin, BaseTorchEstimator):
    """Multi-layer perceptron regressor, a drop-in for scikit-learn's `MLPRegressor`.

    Takes every parameter of it with the same meaning and default, and more. Several columns of y are learned
    together.

    Parameters
    ----------
    loss : {"squared_error", "absolute_error", "huber", "poisson", "quantile"}, default="squared_error"
        The loss, summed over the outputs. "squared_error" is half the square and "poisson" half the deviance, as
        in scikit-learn; "poisson" predicts exp(raw score) and needs y >= 0.
    hidden_layer_sizes : array-like of shape (n_layers - 2,) or int, default=(100,)
        Number of neurons of each hidden layer; `()` makes a linear model.
    activation : str, default="relu"
        Activation of the hidden layers: "identity", "logistic", "tanh", "relu", "leaky_relu", "elu", "selu",
        "softplus", "silu" or "gelu".
    solver : {"adam", "sgd", "lbfgs", "adamw", "nadam", "rmsprop", "adagrad"}, default="adam"
        How the weights are found. "adam" and "sgd" follow scikit-learn's formulas, "lbfgs" is scipy's L-BFGS-B
        over all rows at once in float64, the others follow `torch.optim`.
    alpha : float, default=0.0001
        Strength of the L2 penalty, `alpha / 2` times the squared weights divided by the weight sum of the batch;
        with "adamw" the rate at which weights decay instead.
    batch_size : int or "auto", default="auto"
        Rows per update; "auto" is min(200, n_samples). Not used by "lbfgs".
    learning_rate : {"constant", "invscaling", "adaptive", "cosine", "onecycle"}, default="constant"
        How the learning rate changes. "invscaling" divides it by `t_ ** power_t` after each epoch and "adaptive"
        by 5 on each plateau, both with "sgd" only; "cosine" lowers it to zero and "onecycle" raises it from 1/25
        and lowers it again, per batch over `max_iter` epochs, with every solver but "lbfgs".
    learning_rate_init : float, default=0.001
        The learning rate to begin with; with "onecycle" the largest. Not used by "lbfgs".
    power_t : float, default=0.5
        Exponent of "invscaling".
    max_iter : int, default=200
        Number of epochs at most; of iterations for "lbfgs".
    shuffle : bool, default=True
        Whether rows are shuffled in each epoch.
    random_state : int, RandomState instance or None, default=None
        Source of initial weights, validation split, order of rows and dropout. An int makes fits repeat bit for
        bit on the CPU, and equal those of scikit-learn's MLP up to rounding.
    tol : float, default=0.0001
        Improvement of the loss, or of the validation score, below which an epoch counts as without progress.
    verbose : bool, default=False
        Whether to print a line an epoch; the training score in it costs a forward pass over the training rows.
    warm_start : bool, default=False
        Whether `fit` goes on from the weights of the fit before.
    momentum : float, default=0.9
        Momentum of "sgd", in [0, 1].
    nesterovs_momentum : bool, default=True
        Whether that momentum is Nesterov's.
    early_stopping : bool, default=False
        Whether to stop when the validation score no longer improves, and to keep the best weights. Validates on
        `validation_fraction` of the rows unless `fit` is given `X_val` and `y_val`. Not used by "lbfgs".
    validation_fraction : float, default=0.1
        Share of the rows held out by `early_stopping`, in [0, 1).
    beta_1 : float, default=0.9
        Decay of the first moment of "adam", "adamw" and "nadam", in [0, 1).
    beta_2 : float, default=0.999
        Decay of the second moment of "adam", "adamw" and "nadam", in [0, 1).
    epsilon : float, default=1e-08
        Term that keeps divisions finite in "adam", "adamw", "nadam", "rmsprop" and "adagrad".
    n_iter_no_change : int, default=10
        Epochs in a row without progress after which to stop; `np.inf` never stops.
    max_fun : int, default=15000
        Number of loss evaluations of "lbfgs" at most.
    huber_delta : float, default=1.0
        Error up to which "huber" is quadratic; beyond it is linear.
    quantile : float, default=0.5
        The quantile in (0, 1) that "quantile" estimates.
    dropout : float, default=0.0
        Probability in [0, 1) that a hidden neuron is dropped in training.
    batch_norm : bool, default=False
        Whether hidden layers are batch-normalised before their activation.
    weight_init : str, default="glorot_uniform"
        How weights are drawn: "glorot_uniform" (biases too, as in scikit-learn), "glorot_normal", "he_uniform",
        "he_normal", "lecun_normal" or "normal", which is N(0, 0.01).
    n_ensemble : int, default=1
        Number of networks that train together, each from other weights and through the rows in another order, and
        whose predictions are averaged. Each stops by itself. Not with "lbfgs".
    max_grad_norm : float or None, default=None
        Euclidean norm to which longer gradients are scaled down. Not used by "lbfgs".
    device : str, default="auto"
        "cpu", "cuda", "cuda:N" or "mps"; "auto" is cuda, else mps, else cpu, chosen in `fit`.
    dtype : {"auto", "float32", "float64", "bfloat16"}, default="auto"
        What to compute in. "auto" follows X on the CPU (float64 X in float64, float32 and uint8 X in float32) and
        is float32 elsewhere; "bfloat16" keeps float32 weights and multiplies in bfloat16.

    Attributes
    ----------
    module_ : sknn.modules.MLP or sknn.modules.Ensemble
        The trained network, or networks with `n_ensemble` above 1, in eval mode on `device_`.
    device_ : torch.device
        Where it was trained and predicts.
    coefs_, intercepts_ : list of ndarray
        Weights (n_in, n_out) and biases (n_out,) of each layer; those of the first network of several.
    loss_ : float
        Mean loss of the last epoch, the penalty included; also the mean over the networks that still train, as are
        the losses and scores of each epoch below.
    best_loss_ : float or None
        Smallest loss of an epoch; None with `early_stopping`.
    loss_curve_ : list of float
        Loss of each epoch; with "lbfgs" of each iteration.
    validation_scores_ : list of float or None
        R2 of the validation rows after each epoch, if there are any.
    best_validation_score_ : float or None
        The best of them; of several networks, the mean of the best of each.
    n_iter_ : int
        Number of epochs of the last fit.
    t_ : int
        Number of rows seen in training.
    n_features_in_ : int
        Number of features seen in fit.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, where X has names that are all strings.
    n_layers_ : int
        Number of layers, the input and the output counted.
    n_outputs_ : int
        Number of raw scores per row.
    out_activation_ : str
        "identity", or "exp" with `loss="poisson"`.

    See Also
    --------
    MLPTorchClassifier : The same network for classes.
    sklearn.neural_network.MLPRegressor : The estimator whose contract this one keeps.

    References
    ----------
    Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural networks", AISTATS, 2010.

    Kingma and Ba, "Adam: a method for stochastic optimization", ICLR, 2015.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from sknn import MLPTorchRegressor
    >>> X, y = load_diabetes(return_X_y=True)
    >>> network = MLPTorchRegressor(learning_rate="cosine", learning_rate_init=0.01, random_state=0)
    >>> make_pipeline(StandardScaler(), network).fit(X, y / 100).score(X, y / 100) > 0.5
    True
    """

    _parameter_constraints = {
        **BaseTorchEstimator._parameter_constraints,
        **RegressorEstimatorMixin._regressor_constraints,
        **MLPEstimatorMixin._mlp_constraints,
    }

    def __init__(
        self,
        loss: str = "squared_error",
        hidden_layer_sizes: Any = (100,),
        activation: str = "relu",
        *,
        solver: str = "adam",
        alpha: float = 0.0001,
        batch_size: int | str = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: bool = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        huber_delta: float = 1.0,
        quantile: float = 0.5,
        dropout: float = 0.0,
        batch_norm: bool = False,
        weight_init: str = "glorot_uniform",
        n_ensemble: int = 1,
        max_grad_norm: float | None = None,
        device: str = "auto",
        dtype: str = "auto",
    ) -> None:
        self.loss = loss
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.solver = solver
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.power_t = power_t
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.random_state = random_state
        self.tol = tol
        self.verbose = verbose
        self.warm_start = warm_start
        self.momentum = momentum
        self.nesterovs_momentum = nesterovs_momentum
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.n_iter_no_change = n_iter_no_change
        self.max_fun = max_fun
        self.huber_delta = huber_delta
        self.quantile = quantile
        self.dropout = dropout
        self.batch_norm = batch_norm
        self.weight_init = weight_init
        self.n_ensemble = n_ensemble
        self.max_grad_norm = max_grad_norm
        self.device = device
        self.dtype = dtype
