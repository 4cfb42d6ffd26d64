"""Version v1 of the reflection service: ``reflection``, its messages and stubs, and a client."""
