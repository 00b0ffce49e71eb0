"""How many threads each kind of slow file work may take; each kind has its own, so that no kind delays another."""

from anyio import CapacityLimiter

changes = CapacityLimiter(16)
"""Changes to the model folder. Each may wait two seconds for a lock, and reading must never wait for one."""
images = CapacityLimiter(4)
"""Writing and reading the images of a request. A slow caller must not delay a deletion."""
audits = CapacityLimiter(2)
"""Audits and prune plans. Each may read thousands of headers, and a list must never wait for one."""
verifications = CapacityLimiter(2)
"""Verifications. Each reads as fast as the disk can; further ones wait."""
measurements = CapacityLimiter(1)
"""Measurements for `/metrics`. While a disk does not answer, scrapes queue here and do not each take a thread."""
