"""`/livez`, `/readyz` and `/metrics`: for probes and Prometheus. None of them waits for the engine."""
