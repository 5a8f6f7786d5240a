"""Conversations about pictures, and graphs that are said in them: LLaVA, Robin (Osprey), R1-SGG."""
