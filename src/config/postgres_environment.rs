//! PostgreSQL's own environment variables, as far as they concern the security of a connection.

use std::path::PathBuf;

use crate::secret::value::Secret;

/// Connection parameters that PostgreSQL clients read from the environment.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PostgresEnvironment {
    /// `PGPASSWORD`
    pub password: Option<Secret>,
    /// Parameters of an address, by their names there: `sslmode`, `sslrootcert`, `sslcert`,
    /// `sslkey`, `passfile`.
    pub parameters: Vec<(&'static str, String)>,
    /// `HOME`, where `.pgpass` and `.postgresql` are.
    pub(crate) home: Option<PathBuf>,
}

/// Parameters and the variables that give them.
const PARAMETERS: [(&str, &str); 5] = [
    ("sslmode", "PGSSLMODE"),
    ("sslrootcert", "PGSSLROOTCERT"),
    ("sslcert", "PGSSLCERT"),
    ("sslkey", "PGSSLKEY"),
    ("passfile", "PGPASSFILE"),
];

impl PostgresEnvironment {
    /// Reads the variables.
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
