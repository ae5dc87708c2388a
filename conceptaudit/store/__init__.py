"""What is on disk: files written whole, shard results, run folders, locks, outputs kept apart."""
