"""Services and commands that are killed while they change a folder, and what they leave."""
