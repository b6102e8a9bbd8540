//! Secrets: values that do not print, where they come from, and which files may contain them.

pub(crate) mod file_permissions;
pub mod source;
pub mod value;
