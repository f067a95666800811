"""L-BFGS-B over the flat buffer of one model, by scipy."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.optimize
import torch

from sknn._autograd import RowCost, Shares
from sknn._samples import Samples, pass_slices
from sknn._steps import Step

# scipy's status of a minimisation that its callback ended.
_STOPPED = 99


def minimize_lbfgs(
    step: Step,
    samples: Samples,
    rows: np.ndarray,
    cost: RowCost,
    *,
    max_iter: int,
    max_fun: int,
    tol: float,
    after_iteration: Callable[[int, float, float], bool],
) -> tuple[str, float]:
    """Minimise the loss over all those rows at once; return why that failed, or an empty string, and the last loss.

    `after_iteration` is given the iteration's number, loss and seconds, and returns True to stop. Interrupted in the
    middle of a line search, the parameters are those of the last iteration.
    """
    parameters = step.parameters
    order = torch.from_numpy(rows).to(samples.y.device)
    weight = None if samples.weight is None else samples.weight[order]
    total = parameters.data.new_full((1, 1), len(rows) if weight is None else float(weight.sum()))
    parts = list(pass_slices(len(rows), cost.values))

    def term(part: slice) -> tuple[Any, Any, Shares]:
        X, y, weight = step.prepared(*samples.batch(order[None, part]))
        weight = parameters.data.new_ones(X.shape[:2]) if weight is None else weight
        return X, y, step.shares(weight, total)

    kept = [term(parts[0])] if len(parts) == 1 else None
    penalty = step.shares(total, total)
    reached = parameters.data[0].double().cpu().numpy().copy()
    n_iter, started = 0, time.perf_counter()

    @np.errstate(all="ignore")
    def objective(x: np.ndarray) -> tuple[float, np.ndarray]:
        parameters.data.copy_(torch.from_numpy(x))
        terms = enumerate(kept or map(term, parts))
        loss = sum(step.add_data_term(X, y, shares, first=i == 0) for i, (X, y, shares) in terms)
        return step.add_penalty(loss, penalty).item(), parameters.grad[0].double().cpu().numpy().copy()

    def callback(intermediate_result: scipy.optimize.OptimizeResult) -> None:
        nonlocal n_iter, started, reached
        reached = intermediate_result.x.copy()
        parameters.data.copy_(torch.from_numpy(reached))
        n_iter, seconds = n_iter + 1, time.perf_counter() - started
        if after_iteration(n_iter, float(intermediate_result.fun), seconds):
            raise StopIteration
        started = time.perf_counter()

    try:
        result = scipy.optimize.minimize(
            objective,
            reached,
            method="L-BFGS-B",
            jac=True,
            callback=callback,
            options={"maxiter": max_iter, "maxfun": max_fun, "gtol": tol},
        )
    except KeyboardInterrupt:
        parameters.data.copy_(torch.from_numpy(reached))
        raise
    parameters.data.copy_(torch.from_numpy(result.x))
    done = result.success or result.status == _STOPPED
    return "" if done else f"(status={result.status}): {result.message}", float(result.fun)
