"""``python -m outgrow`` is ``outgrow``."""

import sys

from .cli.main import main

sys.exit(main())
