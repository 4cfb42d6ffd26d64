"""Version v1alpha of the reflection service: ``reflection``, its messages and stubs, and a client."""
