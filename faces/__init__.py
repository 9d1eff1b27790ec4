"""From a frame to its mask. No files, no screen."""
