"""Trees: bins, growth from histograms of whole numbers, and boosting."""
