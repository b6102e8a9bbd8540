//! Reads certificates and keys from files.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use adbc_core::error::{Error, Result};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::adbc_postgres::error::invalid;

/// The certificates in a PEM file, at least one; `what` names their purpose.
pub(super) fn certificates(what: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|mut file| file.read_to_end(&mut bytes))
        .map_err(|error| refused(what, path, &error.kind().to_string()))?;
    let found: std::result::Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => Err(refused(what, path, "holds no certificate in PEM form")),
    }
}

/// The private key in a PEM file readable only by its owner. As in libpq, a key owned by root may
/// be group-readable.
pub(super) fn key(path: &Path) -> Result<PrivateKeyDer<'static>> {
    let what = "client key";
    let io = |error: std::io::Error| refused(what, path, &error.kind().to_string());
    let mut file = File::open(path).map_err(io)?;
    let metadata = file.metadata().map_err(io)?;
    let forbidden = if metadata.uid() == 0 { 0o037 } else { 0o077 };
    let mode = metadata.mode() & 0o777;
    if mode & forbidden != 0 {
        return Err(refused(
            what,
            path,
            &format!("mode {mode:04o} lets others use it; run chmod 600 {}", path.display()),
        ));
    }
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(io)?;
    PrivateKeyDer::from_pem_slice(&bytes)
        .map_err(|_| refused(what, path, "holds no unencrypted key in PEM form"))
}

/// The certificate authorities trusted by this machine.
pub(super) fn system() -> Result<Vec<CertificateDer<'static>>> {
    let found = rustls_native_certs::load_native_certs().certs;
    if found.is_empty() {
        return Err(invalid(
            "sslrootcert=system: this machine trusts no certificate authority; \
             install its package of certificates (ca-certificates)",
        ));
    }
    Ok(found)
}

fn refused(what: &str, path: &Path, reason: &str) -> Error {
    invalid(format!("{what} {}: {reason}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_key_is_its_owners() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("me.key");
        let pem = rcgen::KeyPair::generate().expect("a key").serialize_pem();
        fs::write(&path, pem).expect("written");
        let mode = |bits| {
            fs::set_permissions(&path, fs::Permissions::from_mode(bits)).expect("chmod");
            key(&path)
        };
        assert!(mode(0o600).is_ok());
        let message = mode(0o644).expect_err("others can read it").message;
        assert!(message.contains("me.key: mode 0644"), "{message}");
        assert!(mode(0o620).is_err());
    }

    #[test]
    fn a_file_without_what_is_wanted_says_so() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("ca.crt");
        fs::write(&path, "hunter2").expect("written");
        let message = certificates("root certificate", &path).expect_err("none").message;
        assert!(message.contains("ca.crt: holds no certificate"), "{message}");
        assert!(!message.contains("hunter2"));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("chmod");
        assert!(key(&path).expect_err("none").message.contains("no unencrypted key"));
    }
}
