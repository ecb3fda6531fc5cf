"""For all tests."""

import signal

import pytest

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # started in the background of a script: programs that tests start would inherit it, and could not be interrupted
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of real clusters run one after another, on one of the processes that share the tests: they share the clusters."""
    for item in items:
        if "field" in item.path.parts[-2:]:
            item.add_marker(pytest.mark.xdist_group("clusters"))
