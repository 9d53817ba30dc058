"""The values of an assertion that fails in a suite are shown, as those of a test file are."""

import pytest

pytest.register_assert_rewrite("tlsweep.conformance")
