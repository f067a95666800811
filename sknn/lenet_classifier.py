"""The LeNet classifier."""

from typing import Any

from sknn._classifier import ClassifierEstimatorMixin
from sknn._lenet import LeNetEstimatorMixin
from sknn.base import BaseTorchEstimator


class LeNetClassifier(ClassifierEstimatorMixin, LeNetEstimatorMixin, BaseTorchEstimator):
    """LeNet-5 for images, a small convolutional network.

    Takes images as arrays (n, height, width), (n, channels, height, width) or (n, height, width, channels), or
    as rows of their pixels, which is what Pipelines and DataFrames hold. Bytes stay bytes until a batch is read.

    Parameters
    ----------
    image_shape : tuple of int or None, default=None
        Height and width, or channels, height and width, of the images. None reads them from X; rows are taken for
        square images of one or three channels, channel by channel, and rows of another length are padded with
        zeros to the next square, with a warning. Sides below 32 pixels get a frame of zeros around.
    activation : str, default="relu"
        Activation: "identity", "logistic", "tanh", "relu", "leaky_relu", "elu", "selu", "softplus", "silu" or
        "gelu".
    pooling : {"max", "average"}, default="max"
        What stands for each 2 x 2 pixels of a map.
    normalize : bool, default=True
        Whether the mean and the standard deviation of each channel are learned in the first fit and taken out:
        fits to bytes from 0 to 255 and to the same pixels from 0 to 1 come to the same. Predict on what was fitted.
    random_shift : int, default=0
        Pixels by which images are moved at random in training, at most, up or down and left or right. All random
        changes are drawn anew for each image in each epoch; none is made in validation and prediction.
    random_rotation : float, default=0.0
        Degrees by which images are turned at random in training, at most, either way.
    random_flip : bool, default=False
        Whether images are mirrored left to right at random in training.
    random_crop : int, default=0
        Pixels that are cut off at random at each side in training, at most, before what is left is enlarged; the
        frame around small images counts. Below half of a side.
    n_ensemble : int, default=1
        Number of networks that train together, each from other weights, through the images in another order and with
        other random changes of them, and whose probabilities are averaged. Each stops by itself. Not with "lbfgs".
    solver : {"adam", "sgd", "lbfgs", "adamw", "nadam", "rmsprop", "adagrad"}, default="adam"
        How the weights are found; "lbfgs" is scipy's L-BFGS-B over all rows at once in float64.
    alpha : float, default=0.0001
        Strength of the L2 penalty, `alpha / 2` times the squared weights divided by the weight sum of the batch;
        with "adamw" the rate at which weights decay instead.
    batch_size : int or "auto", default="auto"
        Images per update; "auto" is min(64, n_samples). Not used by "lbfgs".
    learning_rate : {"constant", "invscaling", "adaptive", "cosine", "onecycle"}, default="onecycle"
        How the learning rate changes. "onecycle" raises it from 1/25 and lowers it again and "cosine" lowers it to
        zero, per batch over `max_iter` epochs; "invscaling" divides it by `t_ ** power_t` after each epoch and
        "adaptive" by 5 on each plateau, both with "sgd" only.
    learning_rate_init : float, default=0.003
        The learning rate to begin with; with "onecycle" the largest. Not used by "lbfgs".
    power_t : float, default=0.5
        Exponent of "invscaling".
    max_iter : int or "auto", default="auto"
        Number of epochs at most, of iterations for "lbfgs". "auto" is as many as make 1000 updates, but from 3 to
        50.
    shuffle : bool, default=True
        Whether rows are shuffled in each epoch.
    random_state : int, RandomState instance or None, default=None
        Source of initial weights, validation split, order of rows and random changes. An int makes fits repeat
        bit for bit on the CPU.
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
    loss : {"log_loss", "focal"}, default="log_loss"
        The loss: cross-entropy, or the focal loss, which attends to rows that are still wrong.
    label_smoothing : float, default=0.0
        Share in [0, 1) of each label that "log_loss" spreads evenly over all classes.
    focal_gamma : float, default=2.0
        Exponent of "focal"; 0 is "log_loss".
    class_weight : dict, list of dicts, "balanced" or None, default=None
        Weight of each class, which multiplies `sample_weight`; "balanced" gives all classes the same sum. A list
        has a dict for each column of y.
    dropout : float, default=0.0
        Probability in [0, 1) that an output of a hidden dense layer is dropped in training.
    batch_norm : bool, default=False
        Whether each layer but the output is batch-normalised before its activation.
    weight_init : str, default="glorot_uniform"
        How weights are drawn: "glorot_uniform", "glorot_normal", "he_uniform", "he_normal", "lecun_normal" or
        "normal", which is N(0, 0.01).
    max_grad_norm : float or None, default=None
        Euclidean norm to which longer gradients are scaled down. Not used by "lbfgs".
    device : str, default="auto"
        "cpu", "cuda", "cuda:N" or "mps"; "auto" is cuda, else mps, else cpu, chosen in `fit`.
    dtype : {"auto", "float32", "float64", "bfloat16"}, default="auto"
        What to compute in. "auto" follows X on the CPU (float64 X in float64, float32 and uint8 X in float32) and
        is float32 elsewhere; "bfloat16" keeps float32 weights and multiplies in bfloat16.

    Attributes
    ----------
    module_ : torch.nn.Sequential or sknn.modules.Ensemble
        The trained network on `device_`, in eval mode: `images`, which takes rows of pixels, and `network`, a
        `sknn.modules.LeNet5`; with `n_ensemble` above 1, all of them.
    image_shape_ : tuple of int
        Channels, height and width of the images.
    mean_, scale_ : ndarray of shape (n_channels,)
        Mean and standard deviation of each channel, in the units of X.
    device_ : torch.device
        Where it was trained and predicts.
    classes_ : ndarray of shape (n_classes,) or list of such arrays
        Class labels, sorted; a list for several columns of y.
    loss_ : float
        Mean loss of the last epoch, the penalty included; also the mean over the networks that still train, as are
        the losses and scores of each epoch below.
    best_loss_ : float or None
        Smallest loss of an epoch; None with `early_stopping`.
    loss_curve_ : list of float
        Loss of each epoch; with "lbfgs" of each iteration.
    validation_scores_ : list of float or None
        Accuracy of the validation rows after each epoch, if there are any.
    best_validation_score_ : float or None
        The best of them; of several networks, the mean of the best of each.
    n_iter_ : int
        Number of epochs of the last fit.
    t_ : int
        Number of images seen in training.
    n_features_in_ : int
        Number of pixels of an image, all channels counted.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, where X has names that are all strings.
    n_outputs_ : int
        Number of raw scores per image.
    out_activation_ : str
        "logistic" for two classes and multilabel y, "softmax" otherwise.

    See Also
    --------
    LeNetRegressor : The same network for real targets.
    MLPTorchClassifier : Dense layers only, for data that are no images.

    References
    ----------
    LeCun, Bottou, Bengio and Haffner, "Gradient-based learning applied to document recognition", Proceedings of
    the IEEE, 1998.

    Smith and Topin, "Super-convergence: very fast training of neural networks using large learning rates", 2018.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sknn import LeNetClassifier
    >>> X, y = load_digits(return_X_y=True)
    >>> network = LeNetClassifier(max_iter=10, dtype="float32", random_state=0).fit(X, y)
    >>> network.score(X, y) > 0.95
    True
    >>> network.feature_maps(X[:2], layer="c3").shape
    (2, 16, 10, 10)
    """

    _parameter_constraints = {
        **BaseTorchEstimator._parameter_constraints,
        **ClassifierEstimatorMixin._classifier_constraints,
        **LeNetEstimatorMixin._lenet_constraints,
    }

    def __init__(
        self,
        image_shape: Any = None,
        activation: str = "relu",
        *,
        pooling: str = "max",
        normalize: bool = True,
        random_shift: int = 0,
        random_rotation: float = 0.0,
        random_flip: bool = False,
        random_crop: int = 0,
        n_ensemble: int = 1,
        solver: str = "adam",
        alpha: float = 0.0001,
        batch_size: int | str = "auto",
        learning_rate: str = "onecycle",
        learning_rate_init: float = 0.003,
        power_t: float = 0.5,
        max_iter: int | str = "auto",
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
        loss: str = "log_loss",
        label_smoothing: float = 0.0,
        focal_gamma: float = 2.0,
        class_weight: dict[Any, float] | list[dict[Any, float]] | str | None = None,
        dropout: float = 0.0,
        batch_norm: bool = False,
        weight_init: str = "glorot_uniform",
        max_grad_norm: float | None = None,
        device: str = "auto",
        dtype: str = "auto",
    ) -> None:
        self.image_shape = image_shape
        self.activation = activation
        self.pooling = pooling
        self.normalize = normalize
        self.random_shift = random_shift
        self.random_rotation = random_rotation
        self.random_flip = random_flip
        self.random_crop = random_crop
        self.n_ensemble = n_ensemble
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
        self.loss = loss
        self.label_smoothing = label_smoothing
        self.focal_gamma = focal_gamma
        self.class_weight = class_weight
        self.dropout = dropout
        self.batch_norm = batch_norm
        self.weight_init = weight_init
        self.max_grad_norm = max_grad_norm
        self.device = device
        self.dtype = dtype
