"""Changes torch's default dtype."""

import torch

from fake_meddling.losses import L1 as L1

torch.set_default_dtype(torch.float64)
