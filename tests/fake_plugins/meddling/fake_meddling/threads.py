"""Changes torch's number of threads."""

import torch

from fake_meddling.losses import L1 as L1

torch.set_num_threads(torch.get_num_threads() + 1)
