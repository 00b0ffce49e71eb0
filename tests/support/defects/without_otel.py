"""Runs the command line as on a machine without the extra `otel`: OpenTelemetry's SDK cannot be imported.

This is a fake of a missing installation. `RunningService(module="tests.support.defects.without_otel")`.
"""

import sys

from app.__main__ import main

if __name__ == "__main__":
    sys.modules["opentelemetry.sdk"] = None  # type: ignore[assignment]
    sys.modules["opentelemetry.exporter"] = None  # type: ignore[assignment]
    main()
