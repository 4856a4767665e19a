"""Image formats: structure, inspection, decoding, features, thumbnails. Knows Pillow, and nothing of flags."""
