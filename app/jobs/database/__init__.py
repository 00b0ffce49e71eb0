"""The queue of units in PostgreSQL, by procrastinate, which is imported only here and only if OCR_JOBS_URL is set."""
