use std::path::Path;
use std::process;

use assert_cmd::Command;
use tempfile::TempDir;

/// A key that protects nothing.
pub(crate) const KEY: &str = "0ddba11c0ffee5ca1ab1e0ddba11c0ffee5ca1ab1e0ddba11c0ffee5ca1ab1e0";

pub(crate) struct Program {
    folder: TempDir,
}

/// What one call of the program did.
pub(crate) struct Call {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Program {
    /// Where the built program is.
    pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_claims-etl");

    /// A program in a fresh folder.
    pub(crate) fn new() -> Self {
        Self { folder: TempDir::new().expect("a folder") }
    }

    /// A program in a folder with a key, claims, providers, and a configuration that names them.
    pub(crate) fn with_claims() -> Self {
        let program = Self::new();
        program.write("claims-etl.key", KEY).private("claims-etl.key");
        program.write(
            "claims.csv",
            "claim_id,patient_id,provider_id,procedure_code,amount,date_of_service\n\
             C1,P1,V1,99213,10.00,2024-01-01\nC2,P2,V1,99214,20.00,2024-01-02\n",
        );
        program.write(
            "providers.csv",
            "provider_id,provider_name,specialty,location\nV1,Ann,Cardiology,Boston\n",
        );
        program.write(
            "claims-etl.toml",
            "[claims]\nsources = [\"claims.csv\"]\n[providers]\nsources = [\"providers.csv\"]\n\
             [privacy]\nkey_file = \"claims-etl.key\"\n",
        );
        program
    }

    /// Takes a file in the folder away from everybody else.
    pub(crate) fn private(&self, name: &str) -> &Self {
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(self.path().join(name), private).expect("chmod");
        self
    }

    /// The folder.
    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Writes a file into the folder.
    pub(crate) fn write(&self, name: &str, text: &str) -> &Self {
        std::fs::write(self.path().join(name), text).expect("written");
        self
    }

    /// A call that is not made yet; words of `arguments` are split at spaces.
    pub(crate) fn command(&self, arguments: &str) -> Command {
        Command::from_std(self.process(arguments))
    }

    /// The same, to be started and watched.
    #[expect(clippy::disallowed_methods, reason = "the private server's programs are found there")]
    pub(crate) fn process(&self, arguments: &str) -> process::Command {
        let mut command = process::Command::new(Self::BINARY);
        command
            .current_dir(self.path())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .args(arguments.split_whitespace());
        command
    }

    /// Makes a call.
    pub(crate) fn call(&self, arguments: &str) -> Call {
        Call::of(&mut self.command(arguments))
    }
}

impl Call {
    /// Makes a prepared call.
    pub(crate) fn of(command: &mut Command) -> Self {
        let output = command.output().expect("the program starts");
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        Self {
            code: output.status.code(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }

    /// The result of a call that must have succeeded.
    pub(crate) fn done(self) -> String {
        assert_eq!(self.code, Some(0), "{}", self.stderr);
        self.stdout
    }

    /// Exit code and message of a call that must have failed without a result.
    pub(crate) fn refused(self) -> (i32, String) {
        assert_eq!(self.stdout, "");
        (self.code.expect("no signal"), self.stderr)
    }

    /// The last line of stdout as JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        let line = self.stdout.lines().last().unwrap_or_default();
        serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {}", self.stderr))
    }
}
