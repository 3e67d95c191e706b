"""From a clip to the nearest clips of a store: features on the disk, exact search, pictures of what was found."""
