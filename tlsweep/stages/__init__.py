"""The stages of a whole sweep, the story that they make up, and what they share."""
