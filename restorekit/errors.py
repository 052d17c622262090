"""Errors that the user can put right; the command line shows their text and exits with 2."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """Something the user can fix: the message says what was wrong, where, and what to type instead."""

    exit_code = 2


class ConfigError(UserError):
    """One or more mistakes in options or in a recipe, all of them found before anything is built."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


class UnknownName(UserError):  # noqa: N818 - says what happened, as the user reads it
    """A part, kind or suite that is not registered."""


class RegistryError(UserError):
    """Parts that cannot stand in one registry: two of one kind and name, or a malformed record."""


class ImageError(UserError):
    """A picture or tensor that cannot be used: unreadable, too small, wrong shape, dtype or range."""


class MissingPackage(UserError):  # noqa: N818 - says what happened, as the user reads it
    """A package that one part needs and that is not among the dependencies of the distribution that brings it.

    Args:
        need: what needs it, as a sentence without its end.
        package: name of the package.
        extra: the extra of `distribution` that installs it.
        distribution: restorekit, or that of a plugin.
    """

    def __init__(self, need: str, package: str, extra: str, distribution: str = "restorekit") -> None:
        super().__init__(f"{need}, which is not installed. Install it: pip install '{distribution}[{extra}]', or pip install {package}")


class TrainingError(UserError):
    """Training that cannot start or go on."""


class Stopped(TrainingError):  # noqa: N818 - no mistake: somebody asked for it
    """Training that was asked to stop, by Ctrl-C or SIGTERM, and can go on."""

    exit_code = 130


def explain(fault: BaseException) -> str:
    """An exception in one sentence, without Python's decoration where it is the user's business."""
    if isinstance(fault, UserError):
        return str(fault)
    if isinstance(fault, OSError) and fault.strerror:
        return f"{fault.filename}: {fault.strerror}" if fault.filename else fault.strerror
    return f"{type(fault).__name__}: {fault}"


def did_you_mean(wrong: str, known: Iterable[str]) -> str:
    """``" Did you mean a or b?"`` for near misses of `wrong`, or an empty string."""
    scored = sorted(((difflib.SequenceMatcher(None, wrong, name).ratio(), name) for name in known), reverse=True)[:3]
    near = [name for score, name in scored if score >= 0.5 and score > scored[0][0] - 0.15]
    return f" Did you mean {' or '.join(near)}?" if near else ""
