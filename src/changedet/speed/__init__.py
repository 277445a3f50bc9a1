"""How fast a model is on this machine: from file to file, by stage, and the network alone."""
