"""Image formats, inspection, decoding, features, thumbnails and the decoder thread (Pillow; no other folder)."""
