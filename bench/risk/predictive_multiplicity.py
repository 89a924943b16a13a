"""Time predictive multiplicity's hot paths beside their peers: ``python bench/risk/predictive_multiplicity.py``.

Candidates and exact ranges stand beside cvxpy, one program a person and risk as in the official code; the discrepancy
beside SCIP on the plain mixed-integer nonlinear program (``pip install pyscipopt``), in equal time. CPU time, one
process; set OMP_NUM_THREADS=1 for figures that compare.
"""

import time

import numpy as np
from scipy.special import logit

from loglik.risk import predictive_multiplicity as pm
from loglik.risk.predictive_multiplicity.loss import with_intercept

PEOPLE, SECONDS, EPSILON, DELTA = 3, 60.0, 0.001, 0.1

data = pm.load_breastcancer()
near = pm.LevelSet(data.X, data.y, epsilon=EPSILON)
unique = np.unique(data.X, axis=0)


def cpu(work):
    started = time.process_time()
    result = work()
    return time.process_time() - started, result


def peer_candidates(people):
    """The official code's programs: 21 parametrised fits a person on all 683 rows, warm-started."""
    import cvxpy

    Z = with_intercept(data.X) * (2 * data.y - 1)[:, None]
    w, threshold = cvxpy.Variable(10), cvxpy.Parameter()
    goal = cvxpy.Minimize(cvxpy.sum(cvxpy.logistic(-Z @ w)) / len(Z) + cvxpy.sum_squares(w[1:]) * 1e-6)
    for x in with_intercept(people):
        down = cvxpy.Problem(goal, [x @ w <= threshold])
        up = cvxpy.Problem(goal, [x @ w >= threshold])
        for p in pm.target_grid(20):
            threshold.value = logit(p)
            (down if logit(p) <= x @ near.w0 else up).solve(solver=cvxpy.CLARABEL, warm_start=True)


def scip_discrepancy(seconds):
    """Bounds of SCIP on the plain program: box of 25, big-M from it, the loss as a convex sum of exponentials."""
    import pyscipopt as scip

    X = with_intercept(unique)
    place = np.unique(data.X, axis=0, return_inverse=True)[1].ravel()
    total, events = np.bincount(place), np.bincount(place, weights=data.y)
    p0, model = near.predict(unique), scip.Model()
    model.hideOutput()
    model.setParam("limits/time", seconds)
    w = [model.addVar(lb=-25, ub=25) for _ in range(10)]
    score = [scip.quicksum(float(a) * v for a, v in zip(x, w, strict=True) if a) for x in X]
    terms = []
    for t, e, s in zip(
        total, events, score, strict=True
    ):  # u >= log(1 + exp(s)), as a convex sum of exponentials
        u = model.addVar(lb=0)
        model.addCons(scip.exp(-u) + scip.exp(s - u) <= 1)
        terms.append(int(t) * u - float(e) * s)
    model.addCons(scip.quicksum(terms) <= float(len(data.y) * near.target))
    goal = []
    for x, s, p, m in zip(X, score, p0, total, strict=True):
        reach = 25 * float(np.abs(x).sum())
        for sign, q in ((1, p + DELTA), (-1, p - DELTA)):
            if 0 < q < 1:
                z = model.addVar(vtype="B")
                model.addCons(sign * s >= sign * float(logit(q)) - (reach + abs(float(logit(q)))) * (1 - z))
                goal.append(int(m) * z)
    model.setObjective(scip.quicksum(goal), "maximize")
    model.optimize()
    return (model.getPrimalbound() if model.getNSols() else 0) / len(data.y), model.getDualbound() / len(
        data.y
    )


def main():
    cpu(lambda: near.ranges(unique[:2]))  # warm up
    ranges, found = min((cpu(lambda: near.ranges(data.X)) for _ in range(3)), key=lambda pair: pair[0])
    pool, _ = cpu(lambda: pm.candidate_pool(near, data.X))
    fast, _ = cpu(lambda: pm.fast_bounds(near, data.X))
    print(
        f"ours, 683 people (96 distinct): exact ranges {ranges:.3f} s (certified to {found.gap:.0e}), ",
        end="",
    )
    print(f"2016 candidates {pool:.3f} s, fast bounds {fast:.3f} s")
    try:
        peer, _ = cpu(lambda: peer_candidates(unique[:PEOPLE]))
        each = peer / PEOPLE
        print(f"cvxpy + Clarabel, 21 candidates: {each:.2f} s a person", end="; ")
        print(f"ratio of candidates {96 * each / pool:.0f}, of ranges {96 * each / ranges:.0f} (96 people)")
    except ModuleNotFoundError:
        print("cvxpy is missing: pip install cvxpy clarabel")
    ours = near.discrepancy(data.X, DELTA, time_limit=SECONDS)
    print(f"discrepancy in {SECONDS:.0f} s: ours [{ours.lower:.4f}, {ours.upper:.4f}]", end="; ")
    try:
        low, high = scip_discrepancy(SECONDS)
        print(f"SCIP on the plain program [{low:.4f}, {high:.4f}]")
    except ModuleNotFoundError:
        print("SCIP is missing: pip install pyscipopt")


if __name__ == "__main__":
    main()
