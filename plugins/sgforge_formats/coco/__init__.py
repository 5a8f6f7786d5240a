"""COCO instances, COCO panoptic and LVIS: one source; COCO instances: one exporter."""
