"""A detector of persons, SSDLite on MobileNetV2; `ssdlite_source` comes first."""
