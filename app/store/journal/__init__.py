"""The journal: who changed which model, how and when. Append-only JSON lines, in files that are rotated."""
