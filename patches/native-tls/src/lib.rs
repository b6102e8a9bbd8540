//! Stands in for the crate `native-tls`: connectorx depends on it and uses nothing of it.
