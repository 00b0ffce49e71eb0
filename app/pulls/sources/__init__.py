"""The sources that models are pulled from: repositories of the hub, and URLs."""
