"""What keeps a run alive: safe checkpoints, atomic files, resume, input checks, CPU launch."""
