"""The conformance kit: what every part of a plugin must hold, checked the same way for all of them.

From the command line ``restorekit check NAMESPACE``; in a plugin's own tests:

    from restorekit.conformance import parametrize_parts

    @parametrize_parts("mine")
    def test_conforms(conformance_case):
        conformance_case.run()
"""

from restorekit.conformance.kit import Case, Result, cases, check_namespace, checks_for, parametrize_parts

__all__ = ["Case", "Result", "cases", "check_namespace", "checks_for", "parametrize_parts"]
