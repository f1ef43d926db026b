"""Inferences side by side: plan, cells, processes, table, words, figure."""
