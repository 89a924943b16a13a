"""Our training loop beside the loop that one would write by hand, and beside the Trainer of `transformers`.

    python bench/train/loop.py [--steps 200] [--threads 1] [--repeats 5] [--device cpu]

Same network, same batches, same optimiser (fused AdamW, cosine, clipping at 1); milliseconds a step (on a CPU its
own time), the best of some repeats taken in turn, so that a busy machine disturbs all alike. What ours does beside
the bare loop: it weighs by units, watches for NaN and keeps a log. The peer is left out, with a word, where
`transformers` or `accelerate` is not installed.
"""

from __future__ import annotations

import argparse
import importlib.util
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from loglik.nn import initialise, mlp
from loglik.train import Columns, OrderedSampler, TrainConfig, fit, save_weights


@dataclass(frozen=True)
class Shape:
    """A network and its batch."""

    name: str
    make: Callable[[torch.Generator], nn.Module]
    inputs: Callable[[torch.Generator, int], Tensor]
    batch_size: int
    share: float  # of --steps


class TokenModel(nn.Module):
    """Two transformer layers on 48 tokens: the size at which chapters on language train."""

    def __init__(self, vocabulary: int = 512, width: int = 128) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(
            width, 4, 4 * width, dropout=0.0, batch_first=True, norm_first=True
        )
        self.embed = nn.Embedding(vocabulary, width)
        self.body = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(width, vocabulary)

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits of the next token; shape (batch, time, vocabulary)."""
        mask = nn.Transformer.generate_square_subsequent_mask(tokens.shape[1], device=tokens.device)
        return self.head(self.body(self.embed(tokens), mask=mask, is_causal=True))


def token_model(generator: torch.Generator) -> nn.Module:
    model = TokenModel()
    nn.init.normal_(model.embed.weight, std=0.02, generator=generator)
    return initialise(model, generator)


SHAPES = [
    Shape(
        "MLP 2-64-64-3, batch 128",
        lambda g: mlp((2, 64, 64, 3), generator=g),
        lambda g, n: torch.randn(n, 2, generator=g),
        128,
        5,
    ),
    Shape(
        "MLP 784-256-256-10, batch 128",
        lambda g: mlp((784, 256, 256, 10), generator=g),
        lambda g, n: torch.randn(n, 784, generator=g),
        128,
        1,
    ),
    Shape(
        "transformer, 2 layers of 128, 16 x 48 tokens",
        token_model,
        lambda g, n: torch.randint(512, (n, 48), generator=g),
        16,
        0.25,
    ),
]


def make_data(shape: Shape) -> Columns:
    generator = torch.Generator().manual_seed(1)
    x = shape.inputs(generator, 2048)
    y = (
        x.roll(-1, dims=1)
        if x.ndim == 2 and not x.is_floating_point()
        else torch.randint(3, (2048,), generator=generator)
    )
    return Columns(x=x, labels=y)


def summed(logits: Tensor, labels: Tensor) -> Tensor:
    return cross_entropy(logits.flatten(0, -2), labels.flatten(), reduction="sum")


def loss(model: nn.Module, batch: dict[str, Tensor]) -> tuple[Tensor, int]:
    return summed(model(batch["x"]), batch["labels"]), batch["labels"].numel()


def ours(model: nn.Module, data: Columns, cfg: TrainConfig) -> None:
    fit(model, loss, data, cfg)


def bare(model: nn.Module, data: Columns, cfg: TrainConfig) -> None:
    """Twelve lines, nothing but the training."""
    device = next(model.parameters()).device
    optimizer = torch.optim.AdamW(model.parameters(), lr=cfg.lr, weight_decay=0.0, fused=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, cfg.steps)
    sampler = OrderedSampler(cfg.seed, len(data), cfg.batch_size)
    for step in range(cfg.steps):
        batch = {k: v.to(device) for k, v in data[torch.from_numpy(sampler.batch(step))].items()}
        optimizer.zero_grad()
        (summed(model(batch["x"]), batch["labels"]) / batch["labels"].numel()).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()


def trainer(model: nn.Module, data: Columns, cfg: TrainConfig) -> None:
    """The Trainer of `transformers` on the same rows."""
    from transformers import PrinterCallback, Trainer, TrainingArguments

    class WithLoss(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, x: Tensor, labels: Tensor) -> dict[str, Tensor]:
            logits = self.model(x)
            return {"loss": summed(logits, labels) / labels.numel(), "logits": logits}

    rows = [{"x": x, "labels": y} for x, y in zip(data.tensors["x"], data.tensors["labels"], strict=True)]
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            max_steps=cfg.steps,
            per_device_train_batch_size=cfg.batch_size,
            learning_rate=cfg.lr,
            lr_scheduler_type="cosine",
            max_grad_norm=1.0,
            weight_decay=0.0,
            optim="adamw_torch_fused",
            logging_steps=cfg.log_every,
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            use_cpu=not torch.cuda.is_available(),
        )
        peer = Trainer(model=WithLoss(), args=arguments, train_dataset=rows)
        peer.remove_callback(PrinterCallback)
        peer.train()


def milliseconds(train: Callable[..., None], shape: Shape, cfg: TrainConfig, device: torch.device) -> float:
    model = shape.make(torch.Generator().manual_seed(0)).to(device)
    data = make_data(shape)
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    start = clock()
    train(model, data, cfg)
    if device.type == "cuda":
        torch.cuda.synchronize()
    return (clock() - start) / cfg.steps * 1e3


def compare(shape: Shape, cfg: TrainConfig, repeats: int, device: torch.device) -> None:
    loops: dict[str, Callable[..., None]] = {"bare": bare, "ours": ours}
    if importlib.util.find_spec("transformers") and importlib.util.find_spec("accelerate"):
        loops["Trainer"] = trainer
    best = dict.fromkeys(loops, float("inf"))
    for _ in range(repeats):
        for name, train in loops.items():
            best[name] = min(best[name], milliseconds(train, shape, cfg, device))
    ratios = ", ".join(f"{name} {ms:.3f} ms ({ms / best['bare']:.2f} x)" for name, ms in best.items())
    print(f"{shape.name}: {ratios}")


def checkpoint_cost(shape: Shape, cfg: TrainConfig, device: torch.device) -> None:
    """A checkpoint beside a mere copy of the weights to the same disk."""
    with tempfile.TemporaryDirectory() as folder:
        model = shape.make(torch.Generator().manual_seed(0)).to(device)
        spent = []

        def save(run: object) -> None:
            start = time.perf_counter()
            run.save()  # type: ignore[attr-defined]
            spent.append(time.perf_counter() - start)

        short = TrainConfig(steps=5, batch_size=cfg.batch_size, progress=False, out_dir=f"{folder}/run")
        fit(model, loss, make_data(shape), short, callbacks=[save])
        start = time.perf_counter()
        save_weights(model, f"{folder}/weights.safetensors")
        copy = time.perf_counter() - start
        size = sum(p.numel() for p in model.parameters()) * 4 / 1e6
    print(
        f"checkpoint of {size:.1f} MB of weights: {min(spent) * 1e3:.1f} ms; the weights alone: {copy * 1e3:.1f} ms"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device = torch.device(options.device)
    print(f"torch {torch.__version__}, {device}, {options.threads} thread(s), best of {options.repeats}")
    if not (importlib.util.find_spec("transformers") and importlib.util.find_spec("accelerate")):
        print("the Trainer is left out: transformers or accelerate is not installed")
    for shape in SHAPES:
        steps = max(int(options.steps * shape.share), 5)
        cfg = TrainConfig(steps=steps, batch_size=shape.batch_size, clip=1.0, progress=False)
        compare(shape, cfg, options.repeats, device)
    checkpoint_cost(SHAPES[-1], cfg, device)


if __name__ == "__main__":
    main()
