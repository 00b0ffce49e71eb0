"""`/trash`, `/journal`, `/audit`, `/prune` and `/storage`: the upkeep of the model folder."""
