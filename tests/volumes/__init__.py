"""Two services on real network and distributed file systems, each with a mount of its own of the same folder."""
