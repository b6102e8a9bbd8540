//! Failpoints of a program that is to be started, as the crate `fail` reads them.

use std::process::Command;

pub(crate) trait Failpoints {
    /// Kills it at a place: `name`, or `name:nth` for a later hit than the first.
    fn kill_at(&mut self, place: &str) -> &mut Self {
        self.once_at(place, "kill")
    }

    /// Does something at one hit of a place, so that a second try passes.
    fn once_at(&mut self, place: &str, action: &str) -> &mut Self {
        let (name, nth) = place.split_once(':').unwrap_or((place, "1"));
        let before = nth.parse::<u32>().expect("a number") - 1;
        self.failpoint(name, &format!("{before}*off->1*return({action})"))
    }

    /// Gives a name a value as long as it runs.
    fn with_value(&mut self, name: &str, value: &str) -> &mut Self {
        self.failpoint(name, &format!("return({value})"))
    }

    fn failpoint(&mut self, name: &str, actions: &str) -> &mut Self;
}

impl Failpoints for Command {
    fn failpoint(&mut self, name: &str, actions: &str) -> &mut Self {
        let before = self.get_envs().find(|(name, _)| *name == "FAILPOINTS");
        let before = before.and_then(|(_, value)| value?.to_str()).unwrap_or_default();
        let all = format!("{before};{name}={actions}");
        self.env("FAILPOINTS", all)
    }
}
