"""Two services on real network and distributed file systems, each with its own mount of the same folder."""
