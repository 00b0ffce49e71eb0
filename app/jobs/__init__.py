"""Jobs: work that outlives the request that asked for it. Imports the store; knows no HTTP and no engine."""
