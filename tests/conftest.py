"""For all tests."""

import signal

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # started in the background of a script: programs that tests start would inherit it, and could not be interrupted
    signal.signal(signal.SIGINT, signal.default_int_handler)
