"""Semantic-SAM in plain PyTorch: its public checkpoints' names and results, without detectron2 or a compiled operator.

Written from the paper (Li et al. 2023, arXiv 2307.04767) and those it builds on: Swin Transformer (Liu et al. 2021),
deformable attention (Zhu et al. 2020), mask prediction as in Mask DINO (Li et al. 2022). Modules are named as the
tensors of the checkpoints.
"""
