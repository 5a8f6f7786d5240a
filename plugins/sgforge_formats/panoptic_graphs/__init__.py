"""PSG: scene graphs over the segments of COCO panoptic."""
