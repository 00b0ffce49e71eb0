"""Full, slow, read-only and large disks under a running service."""
