"""Training: one Lightning module and one freeze-schedule callback for every plan and schedule."""
