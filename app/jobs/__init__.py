"""Jobs: work that continues after the request that started it. This package imports the store, not HTTP or engine."""
