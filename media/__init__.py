"""Frames in and out: cameras, videos, photos, views, the window, writers, and the threads between them."""
