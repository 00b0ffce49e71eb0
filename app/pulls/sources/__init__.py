"""Where pulled bytes come from: a repository of the hub, or a URL."""
