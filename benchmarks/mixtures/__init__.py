"""Mixtures by EM: log p beside other programs, classifiers and detectors of outliers made of them."""
