"""The command line `ocr-models`: one module for each group of commands, and `main` for the top-level group.

Commands work on the model folder without a server, and take the locks that services take. The rules of the store and
HTTP do not belong here.
"""
