"""Make tests/fixtures/torch_trajectories.npz: what torch's optimizers really do.

    pip install torch numpy && python scripts/make_torch_fixtures.py

Each optimizer descends the same noisy quadratic for 120 float64 steps with a learning
rate that changes every step, plain, with `weight_decay` (coupled) and, where torch has
it, with decoupled decay. The file holds the problem too, so the tests need no torch.
"""

import pathlib

import numpy as np
import torch

OUT = pathlib.Path(__file__).parent.parent / "tests/fixtures/torch_trajectories.npz"
STEPS, SIZE, PEAK, STRENGTH = 120, 5, 0.02, 0.05

OPTIMIZERS = {
    "sgd": (torch.optim.SGD, {}),
    "momentum": (torch.optim.SGD, {"momentum": 0.9}),
    "nesterov": (torch.optim.SGD, {"momentum": 0.9, "nesterov": True}),
    "adagrad": (torch.optim.Adagrad, {}),
    "adadelta": (torch.optim.Adadelta, {}),
    "rmsprop": (torch.optim.RMSprop, {}),
    "adam": (torch.optim.Adam, {}),
    "amsgrad": (torch.optim.Adam, {"amsgrad": True}),
    "adamax": (torch.optim.Adamax, {}),
    "nadam": (torch.optim.NAdam, {}),
    "radam": (torch.optim.RAdam, {}),
}
# How torch spells decoupled decay, where it has it.
DECOUPLED = {
    "adam": (torch.optim.AdamW, {}),
    "amsgrad": (torch.optim.AdamW, {"amsgrad": True}),
    "nadam": (torch.optim.NAdam, {"decoupled_weight_decay": True}),
    "radam": (torch.optim.RAdam, {"decoupled_weight_decay": True}),
}


def descend(make, options, decay, problem):
    theta = torch.tensor(problem["start"], requires_grad=True)
    tx = make([theta], lr=PEAK, weight_decay=decay, **options)
    path = [theta.detach().clone()]
    h, z = torch.tensor(problem["curvature"]), torch.tensor(problem["noise"])
    for t, eta in enumerate(problem["rates"]):
        for group in tx.param_groups:
            group["lr"] = float(eta)
        theta.grad = h * (theta.detach() - 1.0) + z[t]
        tx.step()
        path.append(theta.detach().clone())
    return torch.stack(path).numpy()


def main() -> None:
    torch.set_default_dtype(torch.float64)
    rng = np.random.default_rng(0)
    t = np.arange(STEPS)
    problem = {
        "start": rng.normal(size=SIZE),
        "curvature": rng.uniform(0.5, 2.0, SIZE),
        "noise": rng.normal(0, 0.3, (STEPS, SIZE)),
        "rates": PEAK * (0.2 + 0.8 * np.sin(np.pi * (t + 1) / STEPS) ** 2),
        "peak": np.float64(PEAK),
        "strength": np.float64(STRENGTH),
        "torch": np.array(torch.__version__),
    }
    paths = {}
    for name, (make, options) in OPTIMIZERS.items():
        paths[f"{name}/none"] = descend(make, options, 0.0, problem)
        paths[f"{name}/coupled"] = descend(make, options, STRENGTH, problem)
    for name, (make, options) in DECOUPLED.items():
        paths[f"{name}/decoupled"] = descend(make, options, STRENGTH, problem)
    OUT.parent.mkdir(exist_ok=True)
    np.savez_compressed(OUT, **problem, **paths)
    print(f"{OUT}: {len(paths)} trajectories, torch {torch.__version__}")


if __name__ == "__main__":
    main()
