//! A real S3 server in the test's own process, over a folder: its subfolders are buckets.

use std::path::Path;
use std::thread;

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use s3s_fs::FileSystem;
use tokio::net::TcpListener;

/// Who may read.
pub(crate) const USER: &str = "AKIDCANARY";
/// What they know.
pub(crate) const SECRET: &str = "s3-canary-secret";

/// A server that ends with the test.
pub(crate) struct S3Server {
    address: String,
    folder: tempfile::TempDir,
}

impl S3Server {
    /// Starts a server with one bucket, `claims`.
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(folder.path().join("claims")).expect("a bucket");
        let mut builder = S3ServiceBuilder::new(FileSystem::new(folder.path()).expect("a store"));
        builder.set_auth(SimpleAuth::from_single(USER, SECRET));
        let service = builder.build();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.set_nonblocking(true).expect("not blocking");
        let address = format!("http://{}", listener.local_addr().expect("an address"));
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(async move {
                let listener = TcpListener::from_std(listener).expect("a listener");
                let server = Builder::new(TokioExecutor::new());
                while let Ok((socket, _)) = listener.accept().await {
                    let answers = server.serve_connection(TokioIo::new(socket), service.clone());
                    tokio::spawn(answers.into_owned());
                }
            });
        });
        Self { address, folder }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Puts an object into the bucket.
    pub(crate) fn put(&self, key: &str, content: impl AsRef<[u8]>) -> &Self {
        let path = self.bucket().join(key);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        std::fs::write(path, content).expect("written");
        self
    }

    /// The bucket's folder.
    pub(crate) fn bucket(&self) -> std::path::PathBuf {
        Path::new(self.folder.path()).join("claims")
    }
}
