#!/usr/bin/env bash
# One machine, one process for each GPU (without any: for each core). Started again from the last checkpoint when a
# process dies.
#
#   launch/one_machine.sh launch/train_digits.py --out-dir runs/digits
#   PROCESSES=2 launch/one_machine.sh script.py [its arguments]
set -euo pipefail
export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 # a restart must not read the addresses of the dead (pytorch issue 135712)
exec torchrun --standalone --nproc-per-node "${PROCESSES:-auto}" --max-restarts "${RESTARTS:-3}" "$@"
