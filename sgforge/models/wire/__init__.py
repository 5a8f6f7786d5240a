"""What vendor plugins share: SDK errors, failures read from bodies, API keys, pictures as they are sent."""
