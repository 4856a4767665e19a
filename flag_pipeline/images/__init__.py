"""Image formats, inspection, decoding, features and thumbnails."""
