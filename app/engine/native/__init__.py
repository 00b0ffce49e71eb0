"""The native libraries that AsposeAI needs and its package lacks, and the folders and environment of its process."""
