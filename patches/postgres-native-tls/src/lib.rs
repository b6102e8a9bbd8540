//! Stands in for the crate `postgres-native-tls`: connectorx depends on it and uses nothing of it.
