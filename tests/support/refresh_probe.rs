//! An environment with a materialized view that notes each of its refreshes, for tests of what is refreshed
//! and how often.

use std::fs;
use std::process::{Command, Output};

use serde_json::Value;

use crate::support::failpoints::Failpoints as _;
use crate::support::process;
use crate::support::test_env::TestEnv;

/// The view, and the function that it calls: it notes the refresh, counts the claims and takes as
/// long as a test sets.
const VIEW: &str = "
CREATE TABLE public.pace (seconds double precision);
CREATE TABLE public.refreshes (claims bigint);
CREATE FUNCTION public.note() RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
DECLARE claims bigint;
BEGIN
    SELECT count(*) INTO claims FROM healthcare_analytics.claims_fact;
    INSERT INTO public.refreshes VALUES (claims);
    PERFORM pg_sleep(seconds) FROM public.pace;
    RETURN claims;
END $$;
CREATE MATERIALIZED VIEW public.shown AS SELECT 1 AS one, public.note() AS claims WITH NO DATA;
CREATE UNIQUE INDEX ON public.shown (one);";

/// The input, and one claim more.
pub(crate) const CLAIMS: [&str; 2] = ["A,P,V1,1,1.25,2024-01-01", "B,P,V1,1,2.00,2024-01-02"];
pub(crate) const MORE: [&str; 3] =
    ["A,P,V1,1,1.25,2024-01-01", "B,P,V1,1,2.00,2024-01-02", "C,P,V1,1,3.00,2024-01-03"];

/// An environment whose only target is the view.
pub(crate) struct Viewed {
    pub(crate) env: TestEnv,
}

impl Viewed {
    /// An environment with `lines` in the settings of the target `sql.daily`.
    pub(crate) fn new(lines: &str) -> Self {
        let env = TestEnv::new().claims(&CLAIMS).providers(&["V1,Ada,Cardiology,Here"]);
        env.database.connect().batch_execute(VIEW).expect("a view");
        let viewed = Self { env };
        viewed.configure(&format!(
            "[refresh.dashboard]\nenabled = false\n[refresh.sql.daily]\n\
             views = [\"public.shown\"]\n{lines}\n"
        ));
        viewed
    }

    /// Writes the configuration; the months of providers are not stored.
    pub(crate) fn configure(&self, text: &str) {
        // First, because tests add lines to the last table.
        let off = "[refresh.provider_month]\nenabled = false\n";
        let text = if text.contains(off) { text.to_owned() } else { format!("{off}{text}") };
        fs::write(self.env.path("claims-etl.toml"), text).expect("written");
    }

    /// With another input.
    pub(crate) fn claims(self, rows: &[&str]) -> Self {
        Self { env: self.env.claims(rows) }
    }

    /// How long a refresh takes from now on.
    pub(crate) fn pace(&self, seconds: f64) {
        self.sql(&format!("DELETE FROM public.pace; INSERT INTO public.pace VALUES ({seconds})"));
    }

    pub(crate) fn sql(&self, script: &str) {
        self.env.database.connect().batch_execute(script).expect("done");
    }

    /// `run` with the environment's input.
    pub(crate) fn run(&self) -> Command {
        process::reading(&self.env, &["run", "--format", "json"])
    }

    /// Another command.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = process::command(&self.env);
        command.args(arguments);
        command
    }

    /// How many claims each refresh has found, in their order.
    pub(crate) fn refreshes(&self) -> Vec<String> {
        self.env.rows("SELECT claims FROM public.refreshes ORDER BY ctid")
    }

    /// The names of what is due.
    pub(crate) fn due(&self) -> Vec<String> {
        let due = "SELECT target FROM claims_etl.refresh_outbox
            WHERE desired_run_no IS DISTINCT FROM refreshed_run_no ORDER BY 1";
        self.env.rows(due)
    }
}

/// Standard output of a command that ends with `code`.
pub(crate) fn ends(command: &mut Command, code: i32) -> String {
    let output = process::output(command);
    let (out, printed) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{out}{printed}");
    out
}

/// Its last line as JSON.
pub(crate) fn run_json(command: &mut Command, code: i32) -> Value {
    let out = ends(command, code);
    serde_json::from_str(out.lines().last().unwrap_or_default()).expect("JSON")
}

/// A command that kills itself at a place.
pub(crate) fn killed(command: &mut Command, place: &str) -> Output {
    command.kill_at(place);
    let output = process::output(command);
    assert_eq!(output.status.code(), None, "{}", text(&output.stderr));
    output
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
