"""TSME: two-stage modality enhancement for visible-infrared person re-identification."""
