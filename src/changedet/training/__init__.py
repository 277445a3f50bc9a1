"""From settings to a trained model: configuration, loop, validation, logs."""
