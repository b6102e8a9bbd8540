//! The program in a container, as far as its files show: what the Containerfile and the Kubernetes
//! manifests say. No container engine is needed; `container_runtime` runs the program in such a place.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::support::program::Program;

/// The user of the image.
pub(crate) const USER: u32 = 65532;

/// Where the image has the program.
pub(crate) const PLACE: &str = "/usr/local/bin/claims-etl";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn text(name: &str) -> String {
    fs::read_to_string(root().join(name)).expect(name)
}

/// A test that cannot be made here.
#[expect(clippy::print_stderr, reason = "a skipped test says so")]
pub(crate) fn skipped(why: &str) {
    eprintln!("skipped: {why}");
}

/// An instruction of a Containerfile.
#[derive(Debug, Clone)]
struct Instruction {
    name: String,
    rest: String,
}

impl Instruction {
    /// The words of the exec form; none for the shell form.
    fn exec(&self) -> Option<Vec<String>> {
        let list = &self.rest[self.rest.find('[')?..];
        serde_json::from_str(list).ok()
    }
}

/// The stages of the Containerfile, each beginning with its FROM.
fn stages() -> Vec<Vec<Instruction>> {
    let file = text("Containerfile");
    let lines: Vec<&str> =
        file.lines().filter(|line| !line.trim_start().starts_with('#')).collect();
    let joined = lines.join("\n").replace("\\\n", " ");
    let mut stages: Vec<Vec<Instruction>> = Vec::new();
    for line in joined.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (name, rest) = line.split_once(' ').expect("an instruction and what it is about");
        assert!(name.bytes().all(|byte| byte.is_ascii_uppercase()), "{line}");
        let instruction = Instruction { name: name.into(), rest: rest.trim().into() };
        if name == "FROM" {
            stages.push(Vec::new());
        }
        stages.last_mut().expect("FROM comes first").push(instruction);
    }
    stages
}

fn all<'a>(stage: &'a [Instruction], name: &str) -> Vec<&'a Instruction> {
    stage.iter().filter(|instruction| instruction.name == name).collect()
}

/// The only instruction of this name.
fn one<'a>(stage: &'a [Instruction], name: &str) -> &'a Instruction {
    let found = all(stage, name);
    assert_eq!(found.len(), 1, "{name}");
    found[0]
}

#[test]
fn the_image_needs_no_shell_and_no_root() {
    let stages = stages();
    assert_eq!(stages.len(), 2);
    let last = &stages[1];
    // Neither shell nor package manager; its debug variants have one.
    let base = &one(last, "FROM").rest;
    assert!(base.starts_with("gcr.io/distroless/cc-") && base.ends_with(":nonroot"), "{base}");
    assert!(all(last, "RUN").is_empty() && all(last, "ADD").is_empty());
    assert_eq!(one(last, "USER").rest, format!("{USER}:{USER}"));
    assert_eq!(one(last, "STOPSIGNAL").rest, "SIGTERM");
    assert_eq!(one(last, "ENTRYPOINT").exec().expect("exec form"), [PLACE]);
    assert!(one(last, "CMD").exec().is_some());
    let health = one(last, "HEALTHCHECK");
    assert!(health.rest.contains(" CMD ["), "{}", health.rest);
    assert_eq!(health.exec().expect("exec form"), [PLACE, "schedule", "health"]);
    let labels = &one(last, "LABEL").rest;
    for label in ["title", "description", "version", "licenses", "base.name"] {
        assert!(labels.contains(&format!("org.opencontainers.image.{label}=\"")), "{label}");
    }
    let settings = &one(last, "ENV").rest;
    assert!(settings.contains("CLAIMS_ETL_LOG_FORMAT=json"), "{settings}");
    // The place that is written to is the volume, and belongs to the user before there is one.
    assert!(settings.contains("CLAIMS_ETL_DATA_DIR=/data"), "{settings}");
    assert_eq!(one(last, "VOLUME").exec().expect("a list"), ["/data"]);
    let copied: Vec<&str> = all(last, "COPY").iter().map(|copy| copy.rest.as_str()).collect();
    let owned = format!("--from=build --chown={USER}:{USER} /data /data");
    let program = format!("--from=build /src/target/release/claims-etl {PLACE}");
    assert_eq!(copied, [program, owned]);
    // The version in the label is the program's.
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(one(last, "ARG").rest, format!("VERSION={version}"));
}

#[test]
fn the_build_has_what_it_needs_and_the_right_compiler() {
    let stages = stages();
    let build = &stages[0];
    let toolchain: toml::Table = text("rust-toolchain.toml").parse().expect("TOML");
    let channel = toolchain["toolchain"]["channel"].as_str().expect("a channel");
    let short = channel.rsplit_once('.').map_or(channel, |(short, _)| short);
    let base = &one(build, "FROM").rest;
    assert_eq!(base, &format!("docker.io/library/rust:{short}-bookworm AS build"));
    // The libraries that it links to are those of the final image: both are Debian 12.
    assert!(one(&stages[1], "FROM").rest.contains("-debian12:"));
    let ignored = text(".containerignore");
    let kept: BTreeSet<&str> = ignored.lines().filter_map(|line| line.strip_prefix('!')).collect();
    assert_eq!(ignored.lines().next(), Some("*"), "all is left out that is not named");
    for copy in all(build, "COPY") {
        let words: Vec<&str> = copy.rest.split_whitespace().collect();
        for source in &words[..words.len() - 1] {
            assert!(root().join(source).exists(), "{source} does not exist");
            assert!(kept.contains(source), "{source} is left out by .containerignore");
        }
    }
    // No source includes a file from outside of what is copied; tests are not built there.
    for source in crate::architecture::sources() {
        let program = source.text.split("#[cfg(test)]").next().unwrap_or_default();
        if source.name.ends_with("tests") {
            continue;
        }
        let depth = source.name.matches('/').count();
        for opening in ["include_str!(\"", "include_bytes!(\""] {
            for part in program.split(opening).skip(1) {
                let path = part.split('"').next().unwrap_or_default();
                let within = path.matches("../").count() <= depth && !path.starts_with('/');
                assert!(within, "{}: {path}", source.name);
            }
        }
    }
}

/// The placeholders stand for every target of the manifest: cargo would not begin otherwise.
#[test]
fn the_placeholders_fit_the_manifest() {
    let stages = stages();
    let run = &all(&stages[0], "RUN")[0].rest;
    let (placeholders, build) = run.split_once("&& cargo build").expect("placeholders first");
    assert!(build.contains("--locked"), "{build}");
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["Cargo.toml", "Cargo.lock"] {
        fs::copy(root().join(name), folder.path().join(name)).expect("copied");
    }
    let made = Command::new("sh").arg("-euc").arg(placeholders).current_dir(folder.path()).output();
    let made = made.expect("a shell");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let read = Command::new("cargo")
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(folder.path())
        .output()
        .expect("cargo");
    assert!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr));
    let found: Value = serde_json::from_slice(&read.stdout).expect("JSON");
    let targets = found["packages"][0]["targets"].as_array().expect("targets");
    assert!(targets.len() >= 5, "{targets:?}");
    for target in targets {
        let path = target["src_path"].as_str().expect("a path");
        assert!(Path::new(path).is_file(), "{path} has no placeholder");
    }
}

/// A file of manifests as JSON; none where nothing on this machine reads YAML.
fn manifests(name: &str) -> Option<Vec<Value>> {
    let path = root().join("docs/kubernetes").join(name);
    let script = "import json, sys, yaml\n\
                  print(json.dumps(list(yaml.safe_load_all(open(sys.argv[1])))))";
    let read = Command::new("python3").args(["-c", script]).arg(&path).output().ok()?;
    let printed = String::from_utf8_lossy(&read.stderr).into_owned();
    if printed.contains("No module named") {
        return None;
    }
    assert!(read.status.success(), "{printed}");
    Some(serde_json::from_slice(&read.stdout).expect("JSON"))
}

const MANIFESTS: [(&str, &[&str]); 3] = [
    ("cronjob.yaml", &["ConfigMap", "CronJob"]),
    ("job.yaml", &["Job", "Job"]),
    ("schedule.yaml", &["Deployment"]),
];

#[test]
fn the_manifests_are_well_formed() {
    for (name, kinds) in MANIFESTS {
        // What holds for any YAML of ours, whoever can read it: two blanks a step, no tabs.
        let file = text(&format!("docs/kubernetes/{name}"));
        for line in file.lines() {
            let indent = line.len() - line.trim_start().len();
            assert!(indent.is_multiple_of(2) && !line.contains('\t'), "{name}: {line}");
        }
        assert_eq!(file.matches("\nkind: ").count(), kinds.len(), "{name}");
        let Some(found) = manifests(name) else {
            skipped("python3 with PyYAML is needed to read the manifests");
            return;
        };
        let found: Vec<&str> =
            found.iter().map(|one| one["kind"].as_str().expect("a kind")).collect();
        assert_eq!(found, kinds, "{name}");
    }
}

/// Every pod of the manifests, with the job that it is of.
fn pods() -> Option<Vec<(Value, Value)>> {
    let mut pods = Vec::new();
    for (name, _) in MANIFESTS {
        for one in manifests(name)? {
            let spec = match one["kind"].as_str() {
                Some("CronJob") => one["spec"]["jobTemplate"]["spec"].clone(),
                Some("Job" | "Deployment") => one["spec"].clone(),
                _ => continue,
            };
            pods.push((spec["template"]["spec"].clone(), one));
        }
    }
    assert_eq!(pods.len(), 4);
    Some(pods)
}

#[test]
fn every_pod_is_as_confined_as_the_program_allows() {
    let Some(pods) = pods() else { return skipped("python3 with PyYAML is needed") };
    for (pod, _) in pods {
        assert_eq!(pod["automountServiceAccountToken"], false);
        let security = &pod["securityContext"];
        assert_eq!(security["runAsNonRoot"], true);
        for group in ["runAsUser", "runAsGroup", "fsGroup"] {
            assert_eq!(security[group], USER, "{group}");
        }
        assert_eq!(security["seccompProfile"]["type"], "RuntimeDefault");
        // Longer than the program needs to roll back and to cancel what it has started.
        assert!(pod["terminationGracePeriodSeconds"].as_u64().expect("seconds") >= 30);
        let containers = pod["containers"].as_array().expect("containers");
        assert_eq!(containers.len(), 1);
        let own = &containers[0];
        assert_eq!(own["name"], "claims-etl");
        assert!(own["command"].is_null(), "the image's entry point");
        let security = &own["securityContext"];
        assert_eq!(security["readOnlyRootFilesystem"], true);
        assert_eq!(security["allowPrivilegeEscalation"], false);
        assert_eq!(security["capabilities"]["drop"], serde_json::json!(["ALL"]));
        assert!(own["resources"]["limits"]["memory"].is_string());
        // No secret is in the environment, and what may be written to has a limit.
        for variable in own["env"].as_array().expect("variables") {
            assert!(variable["valueFrom"].is_null(), "{variable}");
        }
        let volumes = pod["volumes"].as_array().expect("volumes");
        let volume = |name: &str| {
            volumes.iter().find(|volume| volume["name"] == name).unwrap_or_else(|| panic!("{name}"))
        };
        let mounts = own["volumeMounts"].as_array().expect("mounts");
        assert_eq!(mounts.len(), volumes.len());
        for mount in mounts {
            let name = mount["name"].as_str().expect("a name");
            volume(name);
            assert_eq!(mount["readOnly"].as_bool().unwrap_or(false), name != "data", "{name}");
        }
        assert!(volume("data")["emptyDir"]["sizeLimit"].is_string());
        // 0440 as YAML 1.1 reads it: root's, and for the group of `fsGroup`.
        assert_eq!(volume("secrets")["secret"]["defaultMode"], 0o440);
    }
}

#[test]
fn jobs_are_tried_again_where_that_can_help() {
    let Some(pods) = pods() else { return skipped("python3 with PyYAML is needed") };
    let mut jobs = 0;
    for (pod, one) in pods {
        let job = match one["kind"].as_str() {
            Some("CronJob") => {
                assert_eq!(one["spec"]["concurrencyPolicy"], "Forbid");
                &one["spec"]["jobTemplate"]["spec"]
            }
            Some("Job") => &one["spec"],
            _ => continue,
        };
        jobs += 1;
        // The only policy under which exit codes are looked at.
        assert_eq!(pod["restartPolicy"], "Never");
        assert!(job["backoffLimit"].is_u64() && job["activeDeadlineSeconds"].is_u64());
        let rules = job["podFailurePolicy"]["rules"].as_array().expect("rules");
        let codes = |action: &str| -> Vec<u64> {
            let own = rules.iter().filter(|rule| rule["action"] == action);
            let lists = own.filter_map(|rule| rule["onExitCodes"]["values"].as_array());
            lists.flatten().filter_map(Value::as_u64).collect()
        };
        assert_eq!(codes("FailJob"), [2, 3, 4]);
        assert_eq!(codes("Ignore"), [75, 143]);
        for rule in rules.iter().filter(|rule| !rule["onExitCodes"].is_null()) {
            let on = &rule["onExitCodes"];
            assert_eq!(
                (&on["operator"], &on["containerName"]),
                (&"In".into(), &"claims-etl".into())
            );
        }
    }
    assert_eq!(jobs, 3);
}

/// What the manifests and the image call the program with, the program understands.
#[test]
fn the_program_knows_the_arguments() {
    let Some(pods) = pods() else { return skipped("python3 with PyYAML is needed") };
    let mut calls: BTreeSet<Vec<String>> = BTreeSet::new();
    let words = |list: &Value| -> Vec<String> {
        let list = list.as_array().expect("a list");
        list.iter().filter_map(Value::as_str).map(ToOwned::to_owned).collect()
    };
    for (pod, _) in &pods {
        let own = &pod["containers"][0];
        calls.insert(words(&own["args"]));
        for probe in ["livenessProbe", "startupProbe"] {
            if own[probe].is_object() {
                let command = words(&own[probe]["exec"]["command"]);
                assert_eq!(command[0], PLACE);
                calls.insert(command[1..].to_vec());
            }
        }
    }
    let stages = stages();
    calls.insert(one(&stages[1], "HEALTHCHECK").exec().expect("exec form")[1..].to_vec());
    assert!(calls.len() >= 5, "{calls:?}");
    for mut call in calls {
        call.push("--help".into());
        let help = Command::new(Program::BINARY).env_clear().args(&call).output().expect("starts");
        let printed = String::from_utf8_lossy(&help.stderr);
        assert_eq!(help.status.code(), Some(0), "{call:?}: {printed}");
    }
}

/// The settings in the ConfigMap are settings.
#[test]
fn the_program_knows_the_settings_of_the_manifest() {
    let Some(found) = manifests("cronjob.yaml") else {
        return skipped("python3 with PyYAML is needed");
    };
    let settings = found[0]["data"]["claims-etl.toml"].as_str().expect("settings");
    let program = Program::new();
    program.write("claims-etl.toml", settings);
    let shown = program.call("config show").done();
    assert!(shown.contains("/input/providers.parquet"), "{shown}");
}

/// The libraries that a program needs, as its header names them.
fn needed(program: &str) -> Option<Vec<String>> {
    let read = Command::new("readelf").args(["--dynamic", "--wide", program]).output().ok()?;
    let text = String::from_utf8_lossy(&read.stdout).into_owned();
    let lines = text.lines().filter(|line| line.contains("(NEEDED)"));
    let names = lines.filter_map(|line| line.split_once('[')?.1.split_once(']'));
    Some(names.map(|(name, _)| name.to_owned()).collect())
}

#[test]
fn the_program_needs_only_what_the_image_has() {
    let Some(needed) = needed(Program::BINARY) else { return skipped("readelf is needed") };
    assert!(!needed.is_empty());
    for name in needed {
        // libc6 and libgcc-s1; no libssl: connectorx builds its own in.
        let there = ["libc.so.6", "libm.so.6", "libgcc_s.so.1"].contains(&name.as_str())
            || name.starts_with("ld-linux");
        assert!(there, "{name} is not in the image");
    }
}
