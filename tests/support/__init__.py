"""Real parts to test with: running services, engines that misbehave, and waiting without sleeping."""
