"""Webhooks: the end of a job is sent, signed, to the URL that the job's request gave."""
