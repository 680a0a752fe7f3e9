"""From a project folder to an OCI image and to a registry, without a container engine and without root."""
