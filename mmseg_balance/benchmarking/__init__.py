"""What ``mmseg-balance benchmark`` measures, a file for each of its subcommands."""
