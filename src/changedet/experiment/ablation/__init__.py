"""Ablations: many trainings that differ in one ingredient each, and what they show."""
