"""Limits on threads for each kind of slow file work. Each kind has its own threads and delays no other kind."""

from anyio import CapacityLimiter

changes = CapacityLimiter(16)
"""Threads for changes to the model folder. A change may wait two seconds for a lock; reads must not wait with it."""
images = CapacityLimiter(4)
"""Threads for writing and reading the images of requests. A slow caller must not delay a deletion."""
audits = CapacityLimiter(2)
"""Threads for audits and prune plans. Each may read thousands of headers, and a list must not wait for an audit."""
contents = CapacityLimiter(8)
"""Threads for reading the bytes of models that callers download. A slow disk must not delay other requests."""
verifications = CapacityLimiter(2)
"""Threads for verifications. Each reads as fast as the disk can; further verifications wait."""
measurements = CapacityLimiter(1)
"""The thread for measurements of `/metrics`. While a disk does not answer, further scrapes wait for this thread."""
