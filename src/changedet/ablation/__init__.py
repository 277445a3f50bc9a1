"""Train a table of experiments and judge the claims made of them."""
