"""Time generative/noise2score beside its peers: ``python bench/generative/noise2score.py``.

Inference: BM3D (package bm3d) and the committed network on the same noisy photograph; the network is to be at least
five times faster. Training: images per second of the chapter's network and of the official U-Net, rebuilt as
``UNetN2N``, on the same patches with the same loss. One core, CPU seconds.
"""

import time

import torch

from loglik.generative.noise2score import (
    DnCNN,
    GaussianNoise,
    UNetN2N,
    ardae_loss,
    bm3d_denoise,
    denoise,
    load_pretrained,
    psnr,
    study,
)


def seconds(call, repeats):
    """Least CPU time of some calls, after one to warm up."""
    call()
    times = []
    for _ in range(repeats):
        start = time.process_time()
        call()
        times.append(time.process_time() - start)
    return min(times)


def step(net, patches):
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-4)

    def once():
        optimizer.zero_grad()
        ardae_loss(net, patches, 0.05).backward()
        optimizer.step()

    return once


torch.set_num_threads(1)
noise = GaussianNoise(25 / 255)
scene = study.make_scene(noise, 0, n_train=1, n_test=1)
clean, y = scene.test["camera"], scene.test_noisy["camera"]
net = load_pretrained("gaussian", "Noise2Score")
ours, peer = seconds(lambda: denoise(net, y, noise), 10), seconds(lambda: bm3d_denoise(y, noise), 2)
print(f"inference, 256 x 256: ours {ours:.3f} s at {psnr(clean, denoise(net, y, noise)):.2f} dB, "
      f"bm3d {peer:.2f} s at {psnr(clean, bm3d_denoise(y, noise)):.2f} dB, ratio {peer / ours:.0f} (wanted: 5)")  # fmt: skip

patches = torch.rand(4, 1, 128, 128)
small = DnCNN(1, gain=10.0, **study.NETWORK).to(memory_format=torch.channels_last)
official = UNetN2N(1).to(memory_format=torch.channels_last)
a, b = (len(patches) / seconds(step(net, patches), 3) for net in (small, official))
print(
    f"training, patches of 128 x 128: ours {a:.0f} images/s, official U-Net {b:.1f} images/s, ratio {a / b:.1f} (wanted: 1)"
)
