"""Converting datasets as they are downloaded to the files that the configs name."""
