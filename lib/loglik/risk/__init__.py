"""Classification and risk: probabilities that people act on."""
