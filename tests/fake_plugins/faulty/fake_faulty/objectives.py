"""Adversarial objectives with one fault each."""

import torch

from restorekit.interfaces import Adversarial


class Sound(Adversarial):
    """Wasserstein without any constraint."""

    def critic_terms(self, critic, real, fake, given=None):
        return {"critic": self.mean(critic(fake)) - self.mean(critic(real))}

    def generator_terms(self, critic, real, fake, given=None):
        return {"generator": -self.mean(critic(fake))}

    @staticmethod
    def mean(maps):
        return torch.stack([logits.mean() for logits in maps]).mean()


class Maps(Sound):
    def generator_terms(self, critic, real, fake, given=None):
        return {"generator": -critic(fake)[0]}


class OneImageOnly(Sound):
    def critic_terms(self, critic, real, fake, given=None):
        return super().critic_terms(critic, 1.0 * real, 1.0 * fake)


class Backward(Sound):
    def critic_terms(self, critic, real, fake, given=None):
        self.mean(critic(real)).backward()
        return super().critic_terms(critic, real, fake)


class FirstScaleOnly(Sound):
    @staticmethod
    def mean(maps):
        return maps[0].mean()


class NeedsGradient(Sound):
    def critic_terms(self, critic, real, fake, given=None):
        for image in real if isinstance(real, tuple) else (real,):
            image.requires_grad_()
        return super().critic_terms(critic, real, fake)


class Thaws(Sound):
    def generator_terms(self, critic, real, fake, given=None):
        critic.requires_grad_(True)
        return super().generator_terms(critic, real, fake)


class DetachedFake(Sound):
    def generator_terms(self, critic, real, fake, given=None):
        fake = tuple(f.detach().requires_grad_() for f in fake) if isinstance(fake, tuple) else fake.detach().requires_grad_()
        return super().generator_terms(critic, real, fake)


class WrongSign(Sound):
    def critic_terms(self, critic, real, fake, given=None):
        return super().critic_terms(critic, fake, real)


class WrongGeneratorSign(Sound):
    def generator_terms(self, critic, real, fake, given=None):
        return {"generator": self.mean(critic(fake))}


class ClipsAtOnce(Sound):
    def critic_terms(self, critic, real, fake, given=None):
        with torch.no_grad():
            for parameter in critic.parameters():
                parameter.clamp_(-0.01, 0.01)
        return super().critic_terms(critic, real, fake)


class Centred(Sound):
    def critic_terms(self, critic, real, fake, given=None):
        pairs = zip(critic(real), critic(fake), strict=True)
        return {"critic": torch.stack([(r - f.mean() - 1).square().mean() + (f - r.mean() + 1).square().mean() for r, f in pairs]).mean()}


class NeedsNoBatch(Sound):
    whole_batch = True
