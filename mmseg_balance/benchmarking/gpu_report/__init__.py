"""Everything that is to be known on the day there is a GPU, by one command under nine minutes."""
