"""What is generated for the chart: the schema of its values, the CRD and role templates, and `config/install.yaml`."""
