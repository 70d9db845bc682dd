"""What a training run is made of; amvur_jax/train.py joins it."""
