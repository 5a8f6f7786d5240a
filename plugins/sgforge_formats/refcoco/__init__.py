"""RefCOCO, RefCOCO+ and RefCOCOg: phrases that refer to objects of COCO."""
