"""What people use today, each as a competent user writes it. One opponent, one file."""
