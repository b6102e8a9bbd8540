//! PostgreSQL environment variables that affect connection security.

use std::path::PathBuf;

use crate::secret::value::Secret;

/// Connection parameters that PostgreSQL clients read from the environment.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PostgresEnvironment {
    /// `PGPASSWORD`
    pub password: Option<Secret>,
    /// Connection parameters by name: `sslmode`, `sslrootcert`, `sslcert`, `sslkey`, `passfile`.
    pub parameters: Vec<(&'static str, String)>,
    /// `HOME`, which contains `.pgpass` and `.postgresql`.
    pub(crate) home: Option<PathBuf>,
}

/// Parameters and their environment variables.
const PARAMETERS: [(&str, &str); 5] = [
    ("sslmode", "PGSSLMODE"),
    ("sslrootcert", "PGSSLROOTCERT"),
    ("sslcert", "PGSSLCERT"),
    ("sslkey", "PGSSLKEY"),
    ("passfile", "PGPASSFILE"),
];

impl PostgresEnvironment {
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Self {
        Self {
            password: variable("PGPASSWORD").map(Secret::new),
            parameters: PARAMETERS
                .into_iter()
                .filter_map(|(parameter, name)| Some((parameter, variable(name)?)))
                .collect(),
            home: variable("HOME").map(PathBuf::from),
        }
    }
}
