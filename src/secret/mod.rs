//! Secrets: values that do not print, their sources, and file permissions.

pub(crate) mod file_permissions;
pub mod source;
pub mod value;
