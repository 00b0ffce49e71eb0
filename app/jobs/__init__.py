"""Jobs: work that outlives the request that asked for it. This package imports the store, and no HTTP or engine."""
