"""Objectives of the two-player game."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor

from restorekit.interfaces.critic import Critic

Images = Tensor | tuple[Tensor, ...]


class Adversarial(ABC):
    """What the critic and the generator minimise.

    It receives the critic and the images rather than logits, so that relativistic objectives and
    gradient penalties need no loop of their own. `fake` comes detached in `critic_terms` and with
    its graph in `generator_terms`, where the critic's parameters are frozen.

    Declarations:
        whole_batch: whether a term depends on an average over the batch, so that the terms of parts of a batch do not
            add up to those of the whole. Such an objective cannot be trained by parts, and where several processes
            have a part each, it has to take the average over all of them.
        of_each_image: whether it looks at the critic's gradient for each image, so that a critic that mixes the images of a
            batch, as batch norm does, is refused.
        signed: whether the critic calls an image real by a logit above 0.
    """

    whole_batch: bool = False
    of_each_image: bool = False
    signed: bool = False

    @abstractmethod
    def critic_terms(self, critic: Critic, real: Images, fake: Images, given: Tensor | None = None) -> dict[str, Tensor]:
        """Named scalars whose sum the critic minimises."""

    @abstractmethod
    def generator_terms(self, critic: Critic, real: Images, fake: Images, given: Tensor | None = None) -> dict[str, Tensor]:
        """Named scalars whose sum the generator minimises."""

    def constrain(self, critic: Critic) -> None:  # noqa: B027 - optional, most objectives have nothing to do
        """Called after each step of the critic's optimiser; weight clipping happens here."""
