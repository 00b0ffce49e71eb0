"""Images in the engine process: checks of hostile files, and preparation of pages for recognition."""
