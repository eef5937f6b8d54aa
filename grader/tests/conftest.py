"""What all tests share."""

import signal

# A run in the background has SIGINT ignored, and its children inherit that; the tests that press Ctrl-C need it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
