"""`/trash`, `/journal`, `/audit`, `/prune` and `/storage`: what operators use to keep the model folder in order.

Which models are old or corrupt, and what a prune deletes, is decided in `app.store.audit`.
"""
