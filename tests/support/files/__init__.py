"""Model files, images and names that tests make, valid and hostile ones."""
