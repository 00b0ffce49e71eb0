"""The native libraries that AsposeAI needs and its package lacks.

`provisioning` fetches them for the command line, `workdir` makes them visible to a new engine process, and `libraries`
finds, in that process, which are missing.
"""
