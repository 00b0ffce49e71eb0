"""The ids in the examples of the docs page. Related examples have the same ids, so that a reader can follow them."""

REQUEST_ID = UPLOAD_ID = "0f8fad5bd9cb469fa16570867728950e"
TRASH_ID = "20261121T063713Z-3a56954a93f8"
JOB_ID = "20261121T092012Z-0a1b23a56954"
