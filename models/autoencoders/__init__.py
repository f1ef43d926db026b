"""Autoencoders: any depth, denoising, contractive, convolutional."""
