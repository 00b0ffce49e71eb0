"""`/trash`, `/journal`, `/audit`, `/prune` and `/storage`: what operators use to keep the model folder in order.

`app.store.audit` decides which models are old or corrupt, and which models a prune deletes.
"""
