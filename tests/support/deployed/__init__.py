"""Programs that a site runs the service with: kubectl, a container runtime, systemd, proxies, a database."""
