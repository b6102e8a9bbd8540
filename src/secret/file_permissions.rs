//! Decides which files are private enough for a secret.
//!
//! Accepts the way Kubernetes mounts secrets for a non-root user (`fsGroup` and mode 0440).

use std::fs::Metadata;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use nix::unistd::geteuid;

/// Whether a file with this owner and mode may contain a secret.
#[must_use]
pub(crate) fn is_private(file: &Metadata) -> bool {
    let handed_over = file.uid() == 0 && !geteuid().is_root();
    fits(file.permissions().mode(), handed_over)
}

fn fits(mode: u32, handed_over: bool) -> bool {
    let forbidden = if handed_over { 0o037 } else { 0o077 };
    mode & forbidden == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_group_may_read_what_root_has_handed_over() {
        for (mode, own, root) in [
            (0o600, true, true),
            (0o400, true, true),
            (0o440, false, true),
            (0o640, false, true),
            (0o660, false, false),
            (0o650, false, false),
            (0o644, false, false),
            (0o604, false, false),
            (0o777, false, false),
        ] {
            assert_eq!((fits(mode, false), fits(mode, true)), (own, root), "{mode:o}");
        }
    }
}
