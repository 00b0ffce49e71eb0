"""One engine process as the service sees it: its start, its calls, its memory and its end."""
