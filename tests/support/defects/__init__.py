"""Services, engines and servers with a defect that the real ones cannot be made to show on demand."""
