"""What is known of far-away file systems, for whoever reads, writes or runs there."""
