"""Seeds torch's global random numbers."""

import torch

from fake_meddling.losses import L1 as L1

torch.manual_seed(0)
