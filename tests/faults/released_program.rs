//! The program that people run knows no failpoints.

use std::fs;
use std::path::PathBuf;

use crate::architecture;
use crate::support::process;
use crate::support::test_env::TestEnv;

/// The program as `just run` builds it; `just test` says where a copy of it is.
#[expect(clippy::disallowed_methods, reason = "the tests' own setting")]
fn program() -> Option<PathBuf> {
    let built = env!("CARGO_BIN_EXE_claims-etl").into();
    let without = (!cfg!(feature = "failpoints")).then_some(built);
    std::env::var_os("CLAIMS_ETL_TEST_RELEASED").map(PathBuf::from).or(without)
}

/// The names of all places in the code.
pub(crate) fn failpoints() -> Vec<String> {
    let of = |text: &str| -> Vec<String> {
        let calls = text.split("failpoint::hit(\"").skip(1);
        calls.filter_map(|rest| Some(rest.split_once('"')?.0.to_owned())).collect()
    };
    architecture::sources().iter().flat_map(|source| of(&source.text)).collect()
}

#[test]
#[expect(clippy::print_stderr, reason = "who reads the test's output shall know")]
fn the_released_program_knows_no_failpoints() {
    let Some(program) = program() else {
        eprintln!("skipped: CLAIMS_ETL_TEST_RELEASED names no program; `just test` does it");
        return;
    };
    let bytes = fs::read(&program).expect("the program");
    let text = String::from_utf8_lossy(&bytes);
    let holds = |part: &str| text.contains(part);
    assert!(holds("CLAIMS_ETL_WAREHOUSE"), "the search finds what is there");
    assert!(!holds("FAILPOINTS"));
    let points = failpoints();
    assert!(points.len() > 10, "{points:?}");
    let found: Vec<_> = points.iter().filter(|point| holds(point)).collect();
    assert!(found.is_empty(), "{found:?}");

    let env = TestEnv::new().claims(&["C1,P1,V1,1,1.00,2024-01-01"]);
    let mut run = process::reading(&env, &["run"]);
    let mut released = std::process::Command::new(program);
    released.args(run.get_args()).current_dir(env.folder.path()).env_clear();
    run.env("FAILPOINTS", "publish.commit=return(kill)");
    released.envs(run.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = process::output(&mut released);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
}
