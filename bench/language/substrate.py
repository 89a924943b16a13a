"""The language substrate beside its peers: ``python bench/language/substrate.py``.

Training: tokens per second of :func:`loglik.train.fit` and of the Hugging Face Trainer, same network, same rows, same
batch, in alternating rounds. Scoring: texts per second of :func:`loglik.language.scoring.score` and of a plain loop
that scores one text at a time, with the memory that each adds.
"""

import statistics
import tempfile
import threading
import time
import warnings

import psutil
import torch
from transformers import Trainer, TrainingArguments
from transformers.utils import logging

from loglik.language import corpora, models, scoring, tokens
from loglik.language.base.pretrain import SHAPE, VOCAB, Blocks
from loglik.train import TrainConfig, fit

STEPS, BATCH, ROUNDS = 12, 16, 3
logging.set_verbosity_error()
logging.disable_progress_bar()
warnings.filterwarnings("ignore")


def rows():
    texts = corpora.texts(corpora.load_corpus("kjv", seed=0, max_docs=4000))
    tokenizer = tokens.train_bpe(texts, VOCAB)
    return tokenizer, texts, tokens.pack(tokenizer, texts, 128)[: STEPS * BATCH]


def ours(model, packed):
    cfg = TrainConfig(steps=STEPS, batch_size=BATCH, lr=1e-3, clip=1.0, progress=False)
    fit(model, scoring.causal_loss, Blocks(packed), cfg)


def trainer(model, packed):
    data = [{"input_ids": row, "labels": row} for row in packed]
    with tempfile.TemporaryDirectory() as folder:
        settings = TrainingArguments(
            output_dir=folder,
            max_steps=STEPS,
            per_device_train_batch_size=BATCH,
            learning_rate=1e-3,
            max_grad_norm=1.0,
            optim="adamw_torch_fused",
            report_to="none",
            save_strategy="no",
            logging_strategy="no",
            disable_tqdm=True,
            use_cpu=not torch.cuda.is_available(),
        )
        Trainer(model=model, args=settings, train_dataset=data).train()


def training(packed):
    rates = {ours: [], trainer: []}
    for _ in range(ROUNDS):
        for run, found in rates.items():
            model = models.tiny_llama(VOCAB, **SHAPE)
            start = time.perf_counter()
            run(model, packed)
            found.append(STEPS * BATCH * packed.shape[1] / (time.perf_counter() - start))
    us, them = (statistics.median(found) for found in rates.values())
    print(f"training: ours {us:,.0f} tokens/s, Trainer {them:,.0f} tokens/s, ratio {us / them:.2f}")


class Memory:
    """Highest resident memory inside the block above that at its start, in MB, looked at every 2 ms."""

    def __enter__(self):
        self.process, self.done, self.peak = psutil.Process(), threading.Event(), 0
        self.start = self.process.memory_info().rss
        self.thread = threading.Thread(target=self.watch)
        self.thread.start()
        return self

    def watch(self):
        """Look, until the block ends."""
        while not self.done.wait(0.002):
            self.peak = max(self.peak, self.process.memory_info().rss - self.start)

    def __exit__(self, *error):
        self.done.set()
        self.thread.join()

    @property
    def mb(self):
        """The rise."""
        return self.peak / 1e6


@torch.inference_mode()
def one_by_one(model, tokenizer, texts):
    found = []
    for text in texts:
        ids = tokens.encode(tokenizer, [text], max_len=128).ids
        found.append(-float(model(input_ids=ids, labels=ids).loss) * (ids.shape[1] - 1))
    return torch.tensor(found, dtype=torch.float64)


def scoring_of(tokenizer, texts):
    model = models.tiny_llama(VOCAB, **SHAPE).eval()
    texts = texts[:1000]
    results, seconds, memory = {}, {}, {}
    for name in ("ours", "loop"):
        with Memory() as used:
            start = time.perf_counter()
            if name == "ours":
                results[name] = scoring.score(model, tokens.encode(tokenizer, texts, max_len=128)).logp
            else:
                results[name] = one_by_one(model, tokenizer, texts)
            seconds[name] = time.perf_counter() - start
        memory[name] = used.mb
    gap = (results["ours"] - results["loop"]).abs().max()
    print(
        f"scoring {len(texts)} verses: ours {len(texts) / seconds['ours']:,.0f} texts/s (+{memory['ours']:.0f} MB), "
        f"loop {len(texts) / seconds['loop']:,.0f} texts/s (+{memory['loop']:.0f} MB), "
        f"ratio {seconds['loop'] / seconds['ours']:.1f}; largest difference {gap:.1e} nats"
    )


if __name__ == "__main__":
    torch.set_num_threads(1)
    tokenizer, texts, packed = rows()
    training(packed)
    scoring_of(tokenizer, texts)
