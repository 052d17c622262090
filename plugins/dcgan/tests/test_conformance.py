"""restorekit's own checks, on every part of this plugin."""

from restorekit.conformance import Case, parametrize_parts


@parametrize_parts("dcgan")
def test_conforms(conformance_case: Case) -> None:
    conformance_case.run()
