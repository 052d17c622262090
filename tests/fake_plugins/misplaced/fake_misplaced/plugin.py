"""All conform but for the check same-on-a-gpu, each for the reason that its name gives."""

from collections.abc import Iterator

from restorekit.hooks import Part, hookimpl

RESTOREKIT_INTERFACE = 1


@hookimpl
def restorekit_parts() -> Iterator[Part]:
    about = ("misplaced", "textbook", "MIT")
    yield Part("loss", "keeps-a-tensor", "fake_misplaced.parts:KeepsATensor", *about)
    yield Part("loss", "makes-a-tensor", "fake_misplaced.parts:MakesATensor", *about)
    yield Part("loss", "computes-in-numpy", "fake_misplaced.parts:ComputesInNumpy", *about)
    yield Part("loss", "depends-on-the-device", "fake_misplaced.parts:DependsOnTheDevice", *about)
    yield Part("metric", "returns-to-the-processor", "fake_misplaced.parts:ReturnsToTheProcessor", *about)
    yield Part("restorer", "draws-there", "fake_misplaced.parts:DrawsThere", *about)
    yield Part("restorer", "draws-here", "fake_misplaced.parts:DrawsHere", *about)
