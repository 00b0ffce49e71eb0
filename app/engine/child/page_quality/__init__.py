"""Judges prepared pages by their pixels: blur, small text, skew, and accents that recognition cannot give."""
