"""What each kind of part must be: one small abstract class per file, declarations only.

All images are ``(N, C, H, W)``, float32 unless under autocast, RGB or grey, in [0, 1]. A network that
thinks in another range converts inside itself. Constructors are keyword-only and fully annotated,
because the signature is the schema of the part's options (see `restorekit.config`).
"""

from restorekit.interfaces.adversarial import Adversarial
from restorekit.interfaces.critic import Critic
from restorekit.interfaces.degradation import Degradation
from restorekit.interfaces.estimator import Estimator
from restorekit.interfaces.features import Features
from restorekit.interfaces.generator import Generator
from restorekit.interfaces.imported import Imported, Importer
from restorekit.interfaces.loss import Loss
from restorekit.interfaces.metric import Metric, SetMetric
from restorekit.interfaces.restorer import Iteration, Restorer

__all__ = [
    "Adversarial",
    "Critic",
    "Degradation",
    "Estimator",
    "Features",
    "Generator",
    "Imported",
    "Importer",
    "Iteration",
    "Loss",
    "Metric",
    "Restorer",
    "SetMetric",
]
