"""DeblurGAN networks, recipes and a trained model for restorekit."""
